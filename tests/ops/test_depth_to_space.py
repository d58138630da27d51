"""DepthToSpace against ONNX Runtime: exact, a view until a consumer needs an order, then one TRANSPOSE."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from differential import assert_float, assert_int8, delegation
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import OnnxModel, conv_weights
from verified_nets import Verified

from edgecv.errors import ModelLoadError, UnsupportedError
from edgecv_converters import Converted, plan_model

GRID = (0.0517, 3)
OTHER = (0.0713, -9)
MODES = ["DCR", "CRD"]


def alone(
    shape: tuple[int, ...], block: int, mode: str | None, quant: tuple[float, int] | None, *,
    out: tuple[float, int] | None = None, opset: int = 17,
) -> bytes:  # fmt: skip
    """DepthToSpace between an input and an output."""
    model = OnnxModel(opset)
    attributes = {} if mode is None else {"mode": mode}
    x = model.input("input", shape, quant)
    y = model.op("DepthToSpace", [x], "out", out or quant, blocksize=block, **attributes)
    return model.output(y).bytes()


def upscale(mode: str, *, quantized: bool, rounded: bool = True) -> OnnxModel:
    """Sub-pixel convolution: a convolution on either side."""
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", (1, 4, 5, 6), GRID if quantized else None)
    for name, shape in (("first", (12, 4, 1, 1)), ("second", (3, 3, 3, 3))):
        if not quantized:
            weight = model.constant(f"{name}.w", rng.normal(0, 0.3, shape).astype(np.float32))
            x = model.op("Conv", [x, weight], name)
        else:
            weight, bias, scale = conv_weights(rng, model, name, shape, GRID[0])
            scale = GRID[0] if name == "first" else scale
            x = model.op("Conv", [x, weight, bias], name, (scale, 3))
        if name == "first":
            quant = GRID if quantized and rounded else None
            x = model.op("DepthToSpace", [x], "shuffled", quant, blocksize=2, mode=mode)
    return model.output(x)


def kinds(converted: Converted) -> list[str]:
    return [op.op for op in converted.plan.ops if op.op != "RESHAPE"]


@given(
    st.integers(1, 2), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(2, 3),
    st.sampled_from(MODES), st.booleans(), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_exact(
    batch: int, rest: int, height: int, width: int, block: int, mode: str, quantized: bool, seed: int
) -> None:  # fmt: skip
    shape = (batch, rest * block**2, height, width)
    source = alone(shape, block, mode, GRID if quantized else None)
    converted = (
        assert_int8(source, lsb=0, seed=seed)
        if quantized
        else assert_float(source, relative=0.0, seed=seed)
    )
    assert kinds(converted) in ([], ["TRANSPOSE"])
    assert delegation(converted.files[".tflite"]).outside == ()
    assert converted.warnings == ()


@given(
    st.sampled_from(MODES), st.floats(0.01, 0.1), st.integers(-128, 127), st.floats(0.01, 0.1),
    st.integers(-128, 127), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_rounded_to_another_grid(
    mode: str, scale: float, zero: int, out: float, out_zero: int, seed: int
) -> None:
    grids = [(float(np.float32(s)), z) for s, z in ((scale, zero), (out, out_zero))]
    converted = assert_int8(alone((1, 8, 3, 4), 2, mode, grids[0], out=grids[1]), lsb=1, seed=seed)
    assert delegation(converted.files[".tflite"]).outside == ()


@pytest.mark.parametrize("opset", [11, 13, 21])
@pytest.mark.parametrize("mode", [None, *MODES])
def test_opsets(mode: str | None, opset: int) -> None:
    """Without a mode it is DCR."""
    assert_float(alone((1, 8, 3, 4), 2, mode, None, opset=opset), relative=0.0)
    assert_int8(alone((1, 8, 3, 4), 2, mode, GRID, opset=opset), lsb=0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rounded", [False, True])
def test_between_convolutions_it_is_one_transpose_of_integers(mode: str, rounded: bool) -> None:
    """Rounded to the same grid behind it or not at all: the next convolution reads integers."""
    source = upscale(mode, quantized=True, rounded=rounded).bytes()
    converted = assert_int8(source, lsb=2)
    assert kinds(converted) == ["CONV_2D", "TRANSPOSE", "CONV_2D"]
    assert delegation(converted.files[".tflite"]).outside == ()
    assert delegation(converted.files[".tflite"]).partitions == 1


@pytest.mark.parametrize("mode", MODES)
def test_between_convolutions_in_float(mode: str) -> None:
    converted = assert_float(upscale(mode, quantized=False).bytes(), relative=1e-5)
    assert kinds(converted) == ["CONV_2D", "TRANSPOSE", "CONV_2D"]


@pytest.mark.parametrize("mode", MODES)
def test_of_what_is_scattered_already(mode: str) -> None:
    """Behind a transpose that splits elsewhere: together more than one TRANSPOSE can do."""
    model = OnnxModel()
    x = model.input("input", (2, 3, 4, 16), GRID)
    x = model.op("Transpose", [x], "turned", GRID, perm=[3, 2, 1, 0])
    sizes = model.constant("sizes", np.array([2, 8, 4, 6]))
    x = model.op("Reshape", [x, sizes], "split", GRID)
    x = model.op("DepthToSpace", [x], "out", GRID, blocksize=2, mode=mode)
    converted = assert_int8(model.output(x).bytes(), lsb=0)
    assert delegation(converted.files[".tflite"]).outside == ()


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("quantized", [False, True])
def test_verification_knows_that_nothing_is_rounded(
    quantized: bool, rounded: bool, tmp_path: Path
) -> None:
    """Each gate of ``edgecv convert`` passes, and a moved copy on another grid is named."""
    made = Verified(tmp_path, upscale("CRD", quantized=quantized, rounded=rounded))
    for target in made.artifacts:
        assert made.compare(made.copy(target)) == []
    if quantized:
        copy = made.copy("tflite")
        (name,) = [n for n in copy.names() if n.endswith(":transpose/zero_point")]
        copy.array(name).reshape(-1)[0] += 1
        copy.save()
        assert [m.tensor for m in made.compare(copy)] == [name.removesuffix("/zero_point")]


def test_refusals() -> None:
    with pytest.raises(UnsupportedError, match="mode must be DCR or CRD, got 'RDC'; nearest"):
        plan_model(alone((1, 8, 3, 4), 2, "RDC", None), "tflite")
    model = OnnxModel()
    x = model.input("input", (1, 2, 6, 8))
    y = model.constant("picture", np.zeros((1, 8, 3, 4), np.float32))
    y = model.op("DepthToSpace", [y], "shuffled", blocksize=2)
    source = model.output(model.op("Add", [x, y], "out")).bytes()
    with pytest.raises(
        UnsupportedError, match="input must be computed, got the constant 'picture'"
    ):
        plan_model(source, "tflite")


@pytest.mark.parametrize("target", ["tflite", "openvino", "onnx"])
def test_channels_that_do_not_fill_the_blocks(target: str) -> None:
    """ONNX's inference rounds down; no engine runs it."""
    source = alone((1, 9, 3, 4), 2, "DCR", None)
    with pytest.raises(ModelLoadError, match="turns 9 channels into blocks of 2x2"):
        plan_model(source, target)


@pytest.mark.parametrize("attributes", [{}, {"blocksize": 0}])
@pytest.mark.parametrize("stranger", [False, True])
def test_no_block_at_all(attributes: dict[str, int], stranger: bool) -> None:
    """Beside an operator that onnx does not know, its inference says nothing, and the output's shape is the file's."""
    model = OnnxModel()
    y = model.op("DepthToSpace", [model.input("input", (1, 8, 3, 4))], "out", **attributes)
    model.output(y, (1, 2, 6, 8))
    if stranger:
        model.output(model.op("Strange", [y], "strange", domain="com.example"), (1, 2, 6, 8))
    with pytest.raises(ModelLoadError, match=r"blocks of 0|Blocksize must be positive"):
        plan_model(model.bytes(check=False), "tflite")
