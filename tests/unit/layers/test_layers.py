"""Two models tensor by tensor: equal files, float against int8 on all engines, faults put in on purpose."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from exported import quantize_static
from onnx_models import small_resnet
from tampering import Copy, copy_files, open_copy

from edgecv import artifact
from edgecv.conversion import convert_all
from edgecv.errors import InputError, UnsupportedError
from edgecv.layers import LayerComparison, Tap, compare_layers, open_taps
from edgecv.preprocess import to_input
from edgecv.runtime import Runtime

TARGETS = ("tflite", "openvino", "onnx")
SIZE = 16


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Path]]:
    """Precision → target → artifact of one small ResNet, quantized by onnxruntime."""
    folder = tmp_path_factory.mktemp("layers")
    model = small_resnet(quantized=False, size=(SIZE, SIZE)).bytes()
    sources = {"float": model, "int8": quantize_static(model, folder, SIZE)}
    made = {}
    for precision, data in sources.items():
        source = folder / f"{precision}.onnx"
        source.write_bytes(data)
        results = convert_all(source, TARGETS, out=folder / f"{precision}.made")
        made[precision] = {result.target: result.path for result in results}
    return made


def _compared(a: Path, b: Path, seed: int = 0) -> LayerComparison:
    pictures = np.random.default_rng(seed).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    plain = artifact.Preprocess((SIZE, SIZE))

    def feeds(path: Path) -> list[np.ndarray]:
        with Runtime(path) as runtime:
            return [to_input(picture, runtime.info.inputs[0], plain) for picture in pictures]

    return compare_layers(
        open_taps(artifact.read(a)),
        open_taps(artifact.read(b)),
        list(zip(feeds(a), feeds(b), strict=True)),
    )


@pytest.mark.parametrize(
    ("precision", "target"), list(itertools.product(("float", "int8"), TARGETS))
)
def test_a_file_equals_itself(
    files: dict[str, dict[str, Path]], precision: str, target: str
) -> None:
    path = files[precision][target]
    found = _compared(path, path)
    assert len(found.layers) >= 9
    assert all(layer.sqnr_db == math.inf for layer in found.layers)
    assert all(layer.max_difference == 0 for layer in found.layers)
    assert found.jump is None
    # in OpenVINO's graph a convolution and its bias are two operators, and the first has no name
    assert target == "openvino" or not found.only_a + found.only_b


@pytest.mark.parametrize(("a", "b"), list(itertools.product(TARGETS, TARGETS)))
def test_float_against_int8_says_the_same_on_every_pair_of_engines(
    files: dict[str, dict[str, Path]], a: str, b: str
) -> None:
    found = _compared(files["float"][a], files["int8"][b])
    ratios = {layer.name: layer.sqnr_db for layer in found.layers}
    reference = _compared(files["float"]["onnx"], files["int8"]["onnx"])
    expected = {layer.name: layer.sqnr_db for layer in reference.layers}
    shared = ratios.keys() & expected.keys()
    assert {"input", "act1", "maxpool", "layer1.act1", "layer1.act2", "logits"} <= shared
    for name in shared - {"input"}:
        assert ratios[name] == pytest.approx(expected[name], abs=1.5), name
        assert 20 < ratios[name] < 60, name
    assert found.jump is None
    steps = {layer.name: layer.max_steps for layer in found.layers}
    assert steps["act1"] is not None
    assert 0.5 <= steps["act1"] < 6


def _spoilt(path: Path, folder: Path, layer: str) -> Path:
    """A copy whose weights of *layer* have the other sign."""
    copy: Copy = open_copy(copy_files(path, folder))
    [name] = [
        n
        for n in copy.names()
        if n.startswith(f"{layer}.weight") and n.endswith(("quantized", "/int"))
    ]
    weights = copy.array(name)
    weights[...] = -weights
    copy.save()
    return copy.path


@pytest.mark.parametrize(
    ("target", "layer", "jumps"),
    [
        (target, layer, jumps)
        for target in TARGETS
        for layer, jumps in (
            ("conv1", {"bn1", "act1"}),
            ("layer1.conv1", {"layer1.bn1", "layer1.act1"}),
            ("layer1.conv2", {"layer1.bn2"}),
        )
    ],
)
def test_the_first_jump_is_where_weights_were_spoilt(
    files: dict[str, dict[str, Path]], tmp_path: Path, target: str, layer: str, jumps: set[str]
) -> None:
    spoilt = _spoilt(files["int8"][target], tmp_path, layer)
    for reference in (files["int8"][target], files["float"]["onnx"]):
        found = _compared(reference, spoilt)
        assert found.jump is not None
        assert found.jump.name in jumps
        assert found.jump.sqnr_db < 20


class _Fixed:
    """A model that gives numbers of the test."""

    def __init__(self, taps: tuple[Tap, ...], values: dict[str, np.ndarray]) -> None:
        self.taps, self._values = taps, values

    def read(self, feed: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
        return {name: self._values[name] for name in names if name in self._values}


def test_ratios_steps_and_arrangement() -> None:
    nchw = np.arange(1 * 2 * 3 * 4, dtype=np.float32).reshape(1, 2, 3, 4)
    taps_a = (Tap("x", ("x",)), Tap("y", ("y",), (0,)), Tap("z", ("z",), (1,)))
    taps_b = (
        Tap("other input", channels_last=True),
        Tap("y/int", ("y",), (0,), step=0.5, channels_last=True),
        Tap("unknown", ("unknown",), (1,)),
    )
    a = _Fixed(taps_a, {"x": nchw, "y": nchw, "z": nchw})
    nhwc = nchw.transpose(0, 2, 3, 1)
    b = _Fixed(taps_b, {"other input": nhwc, "y/int": nhwc + 1.0, "unknown": nhwc})
    found = compare_layers(a, b, [(nchw, nhwc), (nchw, nhwc)])
    first, second = found.layers
    assert (first.name, first.candidate, first.sqnr_db, first.before_db) == (
        "x", "other input", math.inf, None,
    )  # fmt: skip
    power = float(np.square(nchw).sum())
    assert second.sqnr_db == pytest.approx(10 * math.log10(power / nchw.size))
    assert (second.before_db, second.max_difference, second.max_steps) == (math.inf, 1.0, 2.0)
    assert not second.jumps, "noise of 1 in 23 is below 1 % of the power"
    assert (found.only_a, found.only_b) == (("z",), ("unknown",))


@pytest.mark.parametrize(
    ("noise", "jumps"), [(0.0, False), (0.09, False), (0.11, True), (3.0, True)]
)
def test_a_jump_is_fourfold_and_above_one_percent(noise: float, jumps: bool) -> None:
    x = np.ones((1, 8), np.float32)
    taps = (Tap("x", ("x",)), Tap("y", ("y",), (0,)), Tap("z", ("z",), (1,)))
    a = _Fixed(taps, {"x": x, "y": x, "z": x})
    b = _Fixed(taps, {"x": x, "y": x + 0.04, "z": x + noise})
    found = compare_layers(a, b, [(x, x)])
    assert [layer.jumps for layer in found.layers] == [False, False, jumps]
    assert (found.jump is not None) == jumps
    assert found.to_json()["layers"][0]["sqnr_db"] is None


def test_nothing_in_common_and_no_pictures() -> None:
    x = np.ones((1, 8), np.float32)
    a = _Fixed((Tap("x"), Tap("y", ("y",), (0,))), {"y": x})
    b = _Fixed((Tap("q"), Tap("z", ("z",), (0,))), {"z": x})
    with pytest.raises(InputError, match="no tensor in common by name"):
        compare_layers(a, b, [(x, x)])
    with pytest.raises(InputError, match="no pictures"):
        compare_layers(a, b, [])


def test_a_checkpoint_has_no_taps() -> None:
    file = artifact.ModelFile("torch", None, b"", None, None, "unsigned")
    with pytest.raises(UnsupportedError, match="cannot be read"):
        open_taps(file)
