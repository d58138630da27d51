"""Tensors that the source moves without rounding, and bounds of clamps: found where they are right, named where not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tflite
from onnx_models import OnnxModel, conv_weights
from tampering import Copy, TFLiteCopy
from verified_nets import Verified

from edgecv import artifact
from edgecv.conversion import convert
from edgecv.verify.parameters import compare_parameters

GRID = (0.05, 3)


def moved(kind: str) -> OnnxModel:
    """Moves of an activation in front of a convolution; a ``+`` marks what is rounded, to the same grid."""
    model = OnnxModel()
    x = model.input("x", (1, 4, 6, 6), GRID)
    for name in kind.split(" "):
        op, quant = name.rstrip("+"), GRID if name.endswith("+") else None
        inputs: dict[str, tuple[list[Any], dict[str, Any]]] = {
            "Transpose": ([], {"perm": [0, 1, 3, 2]}),
            "Reshape": ([np.array([1, 4, -1, 2])], {}),
            "MaxPool": ([], {"kernel_shape": [2, 1]}),
            "Pad": ([np.array([0, 0, 1, 1, 0, 0, 1, 1])], {}),
            "Slice": ([np.array([1]), np.array([5]), np.array([2])], {}),
            "Concat": ([], {"axis": 2}),
        }
        constants, attributes = inputs[op]
        names = [model.constant(f"{op}/{i}", data) for i, data in enumerate(constants)]
        sources = [x, x] if op == "Concat" else [x]
        x = model.op(op, [*sources, *names], op, quant, **attributes)
    weight, bias, scale = conv_weights(np.random.default_rng(0), model, "w", (4, 4, 1, 1), GRID[0])
    return model.output(model.op("Conv", [x, weight, bias], "y", (scale, 0)))


MOVES = [
    "Transpose", "Transpose Reshape", "Transpose Reshape+", "Transpose+ Reshape", "Reshape MaxPool+", "MaxPool Reshape",
    "MaxPool Reshape+", "Concat Reshape", "Concat Reshape+", "Concat Transpose Reshape+", "Pad Reshape+",
    "Slice Reshape+", "Slice+ Transpose Reshape+",
]  # fmt: skip


def changes(copy: Copy) -> list[str]:
    """Scales and zero points of activations."""
    found = [n for n in copy.names() if n.endswith(("/scale", "/zero_point"))]
    return [n for n in found if not n.startswith("w.")]


@pytest.mark.parametrize("kind", MOVES)
def test_moves_without_roundings(kind: str, tmp_path: Path) -> None:
    """No tensor is missed, whatever it is called, and none goes unnoticed that is on another grid."""
    made = Verified(tmp_path, moved(kind))
    for target in made.artifacts:
        assert made.compare(made.copy(target)) == []
    names = changes(made.copy("tflite"))
    assert len(names) >= 4
    for name in names:
        copy = made.copy("tflite")
        array = copy.array(name).reshape(-1)
        array[0] = array[0] + 1 if name.endswith("point") else np.nextafter(array[0], np.float32(9))
        copy.save()
        found = made.compare(copy)
        assert [m.tensor for m in found][:1] == [name.rpartition("/")[0]], name


@pytest.mark.parametrize("kind", ["Transpose Reshape+", "Concat Reshape+", "Concat Reshape"])
def test_moves_pass_every_gate(kind: str, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(moved(kind).bytes())
    for target in ("tflite", "openvino", "onnx"):
        result = convert(tmp_path / "m.onnx", target=target, out=tmp_path / target)
        assert result.report["verified"]


def test_a_moved_tensor_that_is_rounded_to_another_grid_must_be_there(tmp_path: Path) -> None:
    """Equal grids make it one tensor; another one never."""
    made = Verified(tmp_path, moved("Transpose Reshape+"), ("tflite",))
    source = moved("Transpose Reshape+")
    source.constants["Reshape/scale"] = np.float32(0.06)
    (tmp_path / "other.onnx").write_bytes(source.bytes())
    found = compare_parameters(made.artifacts["tflite"], tmp_path / "other.onnx")
    assert "Reshape: presence is nothing, the source has an int8 tensor" in map(str, found)


def test_a_pad_with_another_number_leaves_the_grid(tmp_path: Path) -> None:
    """0 lies on every grid, 1.01 on few: the padded tensor is one of its own."""
    model = OnnxModel()
    x = model.input("x", (1, 4, 6, 6), GRID)
    pads = model.constant("pads", np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    x = model.op("Pad", [x, pads, model.constant("number", np.float32(1.01))], "padded", GRID)
    made = Verified(tmp_path, model.output(x))
    assert made.compare(made.copy("tflite")) == []
    assert "padded/scale" in changes(made.copy("tflite"))


@pytest.mark.parametrize("shape", [(), (1,)])
@pytest.mark.parametrize("kind", ["plain", "quantized"])
def test_a_filler_behind_a_rounding(shape: tuple[int, ...], kind: str, tmp_path: Path) -> None:
    """onnxruntime's quantizer rounds the number that a Pad pads with, too."""
    model = OnnxModel()
    x = model.input("x", (1, 4, 6, 6), GRID)
    pads = model.constant("pads", np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    if kind == "plain":
        number = model.constant("number", np.full(shape, 1.0, np.float32))
    else:
        number = model.weight("number", np.full(shape, 100, np.uint8), np.float32(0.01), None)
    made = Verified(tmp_path, model.output(model.op("Pad", [x, pads, number], "y", GRID)), ("tflite",))  # fmt: skip
    assert made.compare(made.copy("tflite")) == []
    copy = made.copy("tflite")
    (name,) = [n for n in copy.names() if n.endswith((":value", ":value/int"))]
    copy.array(name)[...] += np.asarray(1, copy.array(name).dtype)
    copy.save()
    (said,) = map(str, made.compare(copy))
    assert said.startswith(name.removesuffix("/int"))


def clamped(
    low: float | None, high: float | None, shape: tuple[int, ...], *, quantized: bool, after: str = "Conv"
) -> OnnxModel:  # fmt: skip
    """A Clip behind a convolution, or alone."""
    model = OnnxModel()
    x = model.input("x", (1, 4, 6, 6), GRID if quantized else None)
    if after == "Conv":
        weight = np.random.default_rng(0).integers(-100, 100, (4, 4, 1, 1)).astype(np.int8)
        if quantized:
            x = model.op("Conv", [x, model.weight("w", weight, np.float32(0.01), None)], "conv")
        else:
            weight = model.constant("w", (weight / 100).astype(np.float32))
            x = model.op("Conv", [x, weight], "conv")
    bounds = [
        "" if value is None else model.constant(name, np.full(shape, value, np.float32))
        for name, value in (("low", low), ("high", high))
    ]
    y = model.op("Clip", [x, *bounds], "y", (0.05, 0) if quantized else None)
    return model.output(y, (1, 4, 6, 6))


def verified(folder: Path, model: OnnxModel, targets: tuple[str, ...]) -> Verified:
    """ONNX wants bounds without dimensions; exporters and engines do with one."""
    whole = model.bytes
    model.bytes = lambda: whole(check=False)  # type: ignore[method-assign]
    return Verified(folder, model, targets)


CLIPS = [(0.0, 6.0), (-1.0, 1.0), (0.0, None), (0.0, 3.4028235e38)]


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("after", ["Conv", "nothing"])
@pytest.mark.parametrize("shape", [(), (1,)])
@pytest.mark.parametrize(("low", "high"), CLIPS)
def test_bounds_with_or_without_a_dimension(
    low: float, high: float | None, shape: tuple[int, ...], after: str, quantized: bool, tmp_path: Path
) -> None:  # fmt: skip
    """As parameters of the operator, not as constants that it computes with; every gate passes."""
    model = clamped(low, high, shape, quantized=quantized, after=after)
    made = verified(tmp_path, model, ("tflite", "openvino", "onnx"))
    for target in made.artifacts:
        assert made.compare(made.copy(target)) == []


@pytest.mark.parametrize("target", ["openvino", "onnx"])
@pytest.mark.parametrize("shape", [(), (1,)])
@pytest.mark.parametrize("bound", ["low", "high"])
def test_a_bound_off_by_one_ulp(
    bound: str, shape: tuple[int, ...], target: str, tmp_path: Path
) -> None:
    made = verified(tmp_path, clamped(-1.0, 1.0, shape, quantized=True), (target,))
    copy = made.copy(target)
    array = copy.array(bound)
    before = float(array.reshape(-1)[0])
    array[...] = np.nextafter(np.float32(before), np.float32(9))
    copy.save()
    assert artifact.read(copy.path).state == "intact"
    (said,) = map(str, made.compare(copy))
    assert said.startswith(f"{bound}, ")
    assert said.endswith(f"the source has {before}")


def set_clamp(copy: TFLiteCopy, tensor: str, clamp: int) -> None:
    """Another activation inside the operator that writes *tensor*."""
    graph = copy._model.Subgraphs(0)
    for op in (graph.Operators(i) for i in range(graph.OperatorsLength())):
        if graph.Tensors(op.Outputs(0)).Name().decode() == tensor:
            table = op.BuiltinOptions()
            # schema.fbs: fused_activation_function is field 3 of Conv2DOptions
            offset = table.Offset(4 + 2 * 3)
            assert offset
            copy._data[table.Pos + offset] = clamp
            return
    raise AssertionError(tensor)


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize(("clamp", "said"), [("NONE", "NONE"), ("RELU", "RELU"), ("TANH", "TANH")])
def test_another_clamp_inside_an_operator(
    clamp: str, said: str, quantized: bool, tmp_path: Path
) -> None:
    made = verified(tmp_path, clamped(0.0, 6.0, (1,), quantized=quantized), ("tflite",))
    copy = made.copy("tflite")
    assert isinstance(copy, TFLiteCopy)
    kinds = tflite.ActivationFunctionType
    before = bytes(copy._data)
    set_clamp(copy, "y", getattr(kinds, clamp))
    # a field that holds the default may be absent, and then nothing was changed
    assert bytes(copy._data) != before
    copy.save()
    assert [str(m) for m in made.compare(copy)] == [f"y: clamp is {said}, the source has RELU6"]


def test_a_clamp_that_the_source_has_not(tmp_path: Path) -> None:
    """And one that it has becomes none, where another operator is read."""
    model = OnnxModel()
    x = model.input("x", (1, 4, 6, 6), GRID)
    weight = np.random.default_rng(0).integers(-100, 100, (4, 4, 1, 1)).astype(np.int8)
    y = model.op("Conv", [x, model.weight("w", weight, np.float32(0.01), None)], "y", (0.05, 0))
    made = Verified(tmp_path, model.output(y), ("tflite",))
    other = clamped(0.0, None, (), quantized=True)
    (tmp_path / "other.onnx").write_bytes(other.bytes())
    found = compare_parameters(made.artifacts["tflite"], tmp_path / "other.onnx")
    assert "y: clamp is NONE, the source has RELU" in map(str, found)
