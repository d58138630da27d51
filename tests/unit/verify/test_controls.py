"""Negative controls: one number of a resealed copy is off by the least that there is, and is named.

In every copy the digests were recomputed, so that the checksum cannot be what notices.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tampering import Copy, OpenVINOCopy
from verified_nets import NETS, TARGETS, Verified

from edgecv import artifact
from edgecv.errors import ModelLoadError
from edgecv.verify.mismatch import Mismatch

Verify = Callable[[str], Verified]
Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Place:
    """One element of a constant of a network, in the source's order.

    Attributes:
        net: Which network.
        tensor: Its name as operators read it.
        index: Where.
        axis: Dimension of the output channels.
    """

    net: str
    tensor: str
    index: tuple[int, ...]
    axis: int = 0

    def __str__(self) -> str:
        return f"{self.net}-{self.tensor}-{','.join(map(str, self.index))}"

    def mismatch(
        self, field: str, shape: tuple[int, ...], before: object, after: object
    ) -> Mismatch:
        """What verification must say, spelled out here a second time."""
        rest = [d for d in range(len(shape)) if d != self.axis]
        flat = self.index[self.axis]
        for d in rest:
            flat = flat * shape[d] + self.index[d]
        return Mismatch(
            self.tensor, field, before, after, channel=self.index[self.axis], index=flat
        )


WEIGHTS = [
    Place("resnet", "conv1.weight", (0, 0, 0, 0)),
    Place("resnet", "conv1.weight", (7, 2, 2, 2)),
    Place("resnet", "layer1.conv1.weight", (3, 5, 1, 2)),
    Place("resnet", "layer1.conv2.weight", (5, 3, 2, 0)),
    Place("resnet", "fc.weight", (6, 1), axis=1),
    Place("resnet-int8", "layer1.conv2.weight", (1, 7, 0, 1)),
    Place("separable", "stem.weight", (2, 1, 0, 2)),
    Place("separable", "dw.weight", (4, 0, 2, 1)),
    Place("separable", "grouped.weight", (3, 2, 0, 0)),
    Place("separable", "fc.weight", (1, 4), axis=1),
    Place("per-tensor", "dw.weight", (5, 0, 0, 2)),
    Place("per-tensor", "fc.weight", (3, 2), axis=1),
]
BIASES = [
    Place("resnet", "conv1.bias", (0,)),
    Place("resnet", "layer1.conv1.bias", (7,)),
    Place("resnet", "fc.bias", (3,)),
    Place("separable", "dw.bias", (2,)),
    Place("per-tensor", "grouped.bias", (1,)),
]
#: Networks and the activations of theirs that are compared, with what rounds them.
ACTIVATIONS = [
    (net, name)
    for net in ("resnet", "resnet-int8")
    for name in ("input", "act1", "maxpool", "layer1.bn2", "layer1.act2", "global_pool.pool", "logits")
] + [("separable", "stem"), ("separable", "pool"), ("separable", "logits")]  # fmt: skip


def seal(copy: Copy) -> None:
    """Save *copy*; its checksum must not be what notices."""
    copy.save()
    assert artifact.read(copy.path).state == "intact"


def off_by(array: Array, index: tuple[int, ...], step: int) -> tuple[int, int]:
    """Change an integer by *step*, or by -step where that does not fit; before and after."""
    before = int(array[index])
    limits = np.iinfo(array.dtype)
    after = before + step if limits.min <= before + step <= limits.max else before - step
    array[index] = after
    return before, after


def next_float(array: Array, index: tuple[int, ...]) -> tuple[float, float]:
    """Change a float by one unit in the last place; before and after."""
    before = array[index].copy()
    array[index] = after = np.nextafter(before, np.float32(np.inf))
    assert after.dtype == np.float32
    assert after != before
    return float(before), float(after)


@pytest.mark.parametrize("net", NETS)
def test_an_untouched_copy_has_no_mismatch(net: str, target: str, verified: Verify) -> None:
    copy = verified(net).copy(target)
    assert verified(net).compare(copy) == []
    seal(copy)
    assert verified(net).compare(copy) == []


@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize("place", [*WEIGHTS, *BIASES], ids=str)
def test_an_integer_off_by_one(place: Place, step: int, target: str, verified: Verify) -> None:
    copy = verified(place.net).copy(target)
    name = place.tensor
    if target == "tflite" and (place.net, name) == ("separable", "fc.bias"):
        name = "fc.bias:bias"
    elements = copy.array(f"{name}/int")
    before, after = off_by(elements, place.index, step)
    seal(copy)
    found = verified(place.net).compare(copy)
    assert found == [place.mismatch("integer", elements.shape, before, after)]
    channel = place.index[place.axis]
    assert str(found[0]).startswith(f"{place.tensor}, channel {channel}, element ")
    assert f"integer is {after}, the source has {before}" in str(found[0])


@pytest.mark.parametrize(
    ("net", "tensor", "channel"),
    [
        ("resnet", "conv1.weight", 0),
        ("resnet", "layer1.conv1.weight", 7),
        ("resnet", "fc.weight", 3),
        ("resnet", "layer1.conv2.bias", 4),
        ("resnet", "fc.bias", 0),
        ("separable", "stem.weight", 5),
        ("separable", "dw.weight", 2),
        ("separable", "dw.bias", 2),
        ("separable", "fc.weight", 4),
    ],
)
def test_a_channel_scale_off_by_one_ulp(
    net: str, tensor: str, channel: int, target: str, verified: Verify
) -> None:
    copy = verified(net).copy(target)
    before, after = next_float(copy.array(f"{tensor}/scale"), (channel,))
    seal(copy)
    found = verified(net).compare(copy)
    assert found == [Mismatch(tensor, "scale", before, after, channel=channel)]
    assert str(found[0]).startswith(f"{tensor}, channel {channel}: scale is ")


@pytest.mark.parametrize(
    ("net", "tensor", "channel"),
    [("resnet", "conv1.weight", 6), ("resnet", "fc.weight", 1), ("resnet", "layer1.conv1.bias", 3)],
)
@pytest.mark.parametrize("step", [1, -1])
def test_a_channel_zero_point_off_by_one(
    net: str, tensor: str, channel: int, step: int, target: str, verified: Verify
) -> None:
    copy = verified(net).copy(target)
    before, after = off_by(copy.array(f"{tensor}/zero_point"), (channel,), step)
    seal(copy)
    found = verified(net).compare(copy)
    assert found == [Mismatch(tensor, "zero_point", before, after, channel=channel)]


@pytest.mark.parametrize(("net", "tensor"), ACTIVATIONS)
def test_an_activation_scale_off_by_one_ulp(
    net: str, tensor: str, target: str, verified: Verify
) -> None:
    copy = verified(net).copy(target)
    scales = copy.array(f"{tensor}/scale")
    before, after = next_float(scales, (0,) * scales.ndim)
    seal(copy)
    assert verified(net).compare(copy) == [Mismatch(tensor, "scale", before, after)]


@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize(("net", "tensor"), ACTIVATIONS)
def test_an_activation_zero_point_off_by_one(
    net: str, tensor: str, step: int, target: str, verified: Verify
) -> None:
    copy = verified(net).copy(target)
    zeros = copy.array(f"{tensor}/zero_point")
    before, after = off_by(zeros, (0,) * zeros.ndim, step)
    seal(copy)
    if target == "tflite" and after < -128:
        # no int8 tensor has it: the file itself is refused
        with pytest.raises(ModelLoadError, match=rf"tensor '{tensor}' has a zero point outside"):
            verified(net).compare(copy)
        return
    assert verified(net).compare(copy) == [Mismatch(tensor, "zero_point", before, after)]


@pytest.mark.parametrize(
    ("port", "field"),
    [(1, "lowest_real"), (2, "highest_real"), (3, "lowest_integer"), (4, "highest_integer")],
)
@pytest.mark.parametrize("tensor", ["input", "act1", "layer1.bn2", "logits"])
def test_a_bound_of_openvino_off_by_one_ulp(
    tensor: str, port: int, field: str, verified: Verify
) -> None:
    """OpenVINO states an activation's grid twice: FakeQuantize rounds to it by its bounds."""
    copy = verified("resnet").copy("openvino")
    assert isinstance(copy, OpenVINOCopy)
    before, after = next_float(copy.array(copy.operand(f"{tensor}/int", 0, port)), ())
    seal(copy)
    assert verified("resnet").compare(copy) == [Mismatch(tensor, field, before, after)]


@pytest.mark.parametrize(
    "place",
    [
        Place("float", "conv1.weight", (0, 0, 0, 0)),
        Place("float", "conv1.weight", (7, 2, 2, 2)),
        Place("float", "layer1.conv1.weight", (2, 6, 1, 0)),
        Place("float", "fc.weight", (7, 1), axis=1),
        Place("float", "layer1.conv2.bias", (5,)),
        Place("float", "fc.bias", (4,)),
    ],
    ids=str,
)
def test_a_float_off_by_one_ulp(place: Place, target: str, verified: Verify) -> None:
    copy = verified(place.net).copy(target)
    elements = copy.array(place.tensor)
    before, after = next_float(elements, place.index)
    seal(copy)
    found = verified(place.net).compare(copy)
    assert found == [place.mismatch("value", elements.shape, before, after)]


@pytest.mark.parametrize("target_name", TARGETS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_number_of_any_network(target_name: str, data: st.DataObject, verified: Verify) -> None:
    """Every integer, scale, zero point and float that there is, the converter's own ones included."""
    net = data.draw(st.sampled_from(sorted(NETS)), "net")
    copy = verified(net).copy(target_name)
    name = data.draw(st.sampled_from(copy.names()), "name")
    array = copy.array(name)
    index = tuple(data.draw(st.integers(0, size - 1)) for size in array.shape)
    change = next_float if array.dtype == np.float32 else lambda a, i: off_by(a, i, 1)
    change(array, index)
    seal(copy)
    (found,) = verified(net).compare(copy)
    tensor = re.sub("/(int|scale|zero_point)$", "", name)
    # the bounds of a FakeQuantize have no name in the source
    assert found.tensor in (tensor, tensor.removesuffix(":bias")) or name.startswith("Constant:")
    assert (found.channel is None) == (array.size == 1)
