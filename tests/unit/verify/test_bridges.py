"""Grids that only the TFLite file has: what concatenations and integer products demand, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_models import OnnxModel
from verified_nets import Verified

GRIDS = [(0.05, 3), (0.06, -4), (0.07, 5), (0.05, 3), (0.08, 0), (0.09, 1), (0.1, 2)]


def joined() -> OnnxModel:
    """Seven inputs and two constants side by side, padded, and a product of two activations."""
    rng = np.random.default_rng(0)
    model = OnnxModel()
    names = [model.input(f"x{i}", (1, 3, 4), grid) for i, grid in enumerate(GRIDS)]
    names.append(model.constant("plain", rng.normal(0, 1, (1, 3, 4)).astype(np.float32)))
    integers = rng.integers(-100, 100, (1, 3, 4)).astype(np.int8)
    names.append(model.weight("whole", integers, np.float32(0.03), None, zero=7))
    x = model.op("Concat", names, "joined", (0.05, 3), axis=1)
    pads = model.constant("pads", np.array([0, 0, 0, 0, 1, 0], np.int64))
    x = model.op("Pad", [x, pads, model.constant("number", np.float32(1.0))], "padded", (0.05, 3))
    keys = model.op("Transpose", [x], "keys", (0.05, 3), perm=[0, 2, 1])
    return model.output(model.op("MatMul", [x, keys], "y", (0.4, 0)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Verified:
    return Verified(tmp_path_factory.mktemp("bridges"), joined(), ("tflite",))


def changed(made: Verified, name: str, step: float) -> list[str]:
    """What verification says once the first number there is larger by *step*."""
    copy = made.copy("tflite")
    array = copy.array(name)
    array.reshape(-1)[0] += np.asarray(step, array.dtype)
    copy.save()
    return [str(m) for m in made.compare(copy)]


def test_nothing_is_wrong(made: Verified) -> None:
    assert made.compare(made.copy("tflite")) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x1:regrid/zero_point", "x1:regrid: zero_point is 4, the source has 3"),
        ("joined:part/zero_point", "joined:part: zero_point is 4, the source has 3"),
        ("padded:symmetric/zero_point", "padded:symmetric: zero_point is 1, the source has 0"),
        ("padded:value/zero_point", "padded:value: zero_point is 4, the source has 3"),
        ("padded:value/int", "padded:value, element 0: value is 24, the source has 23"),
        ("plain/zero_point", "plain: zero_point is 4, the source has 3"),
    ],
)
def test_least_difference_is_named(made: Verified, name: str, said: str) -> None:
    assert said in changed(made, name, 1)


@pytest.mark.parametrize("name", ["plain", "whole"])
def test_integers_of_a_constant_on_the_grid_of_others(made: Verified, name: str) -> None:
    (said,) = changed(made, f"{name}/int", 1)
    assert said.startswith(f"{name}, ")
    assert ", element 0: integer is " in said


def test_scale_of_a_bridge_is_the_finest(made: Verified) -> None:
    copy = made.copy("tflite")
    scales = copy.array("padded:symmetric/scale")
    before = float(scales[0])
    assert before == float(np.float32(float(np.float32(0.05)) * 131 / 127))
    scales[0] = np.nextafter(scales[0], np.float32(1))
    copy.save()
    (said, *copies) = made.compare(copy)
    assert (said.tensor, said.field, said.expected) == ("padded:symmetric", "scale", before)
    assert all(m.tensor.startswith("padded:symmetric:") for m in copies)


def test_a_rounding_that_no_kernel_demands_is_nothing_of_ours(tmp_path: Path) -> None:
    """The name alone makes no bridge: what it leads to does."""
    model = OnnxModel()
    x = model.input("x", (1, 6), (0.05, 3))
    y = model.op("Identity", [x], "rounded", (0.07, 0))
    made = Verified(tmp_path, model.output(y), ("tflite",))
    copy = made.copy("tflite")
    copy.replace_body(copy.body.replace(b"rounded/int\0", b"sounded/int\0"))
    assert {str(m) for m in made.compare(copy)} == {
        "rounded: presence is nothing, the source has an int8 tensor",
        "sounded/int: presence is an int8 tensor, the source has nothing",
    }
