"""Means over the image against ONNX Runtime: within 1 LSB."""

from __future__ import annotations

import numpy as np
import pytest
from differential import assert_float, assert_int8, delegation
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import OnnxModel

from edgecv.errors import UnsupportedError
from edgecv_converters import plan_model


def mean(op: str, shape: tuple[int, ...], quant: tuple[float, int] | None, out: tuple[float, int] | None, *,
         keepdims: int = 1, opset: int = 17, axes: tuple[int, ...] = (2, 3)) -> bytes:  # fmt: skip
    model = OnnxModel(opset)
    inputs = [model.input("input", shape, quant)]
    attributes: dict[str, object] = {}
    if op == "ReduceMean":
        attributes["keepdims"] = keepdims
        if opset < 18:
            attributes["axes"] = axes
        else:
            inputs.append(model.constant("axes", np.array(axes, np.int64)))
    return model.output(model.op(op, inputs, "out", out, **attributes)).bytes()


@given(
    st.sampled_from(["GlobalAveragePool", "ReduceMean"]), st.integers(1, 9), st.integers(1, 9), st.integers(1, 20),
    st.integers(-128, 127), st.floats(0.3, 1.5), st.integers(0, 1), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_int8(
    op: str, height: int, width: int, channels: int, zero: int, ratio: float, keep: int, seed: int
) -> None:
    quant, out = (0.05, zero), (float(np.float32(0.05 * ratio)), zero)
    source = mean(op, (1, channels, height, width), quant, out, keepdims=keep)
    converted = assert_int8(source, lsb=1, seed=seed)
    assert [o.op for o in converted.plan.ops if o.op != "RESHAPE"] == ["MEAN"]
    assert delegation(converted.files[".tflite"]).outside == ()


@pytest.mark.parametrize("op", ["GlobalAveragePool", "ReduceMean"])
def test_float(op: str) -> None:
    assert_float(mean(op, (1, 6, 5, 7), None, None), relative=1e-6)


@pytest.mark.parametrize("opset", [11, 13, 18, 21])
@pytest.mark.parametrize("axes", [(2, 3), (-1, -2)])
def test_opsets_and_negative_axes(opset: int, axes: tuple[int, ...]) -> None:
    assert_int8(
        mean("ReduceMean", (1, 6, 5, 7), (0.05, 0), (0.02, 0), opset=opset, axes=axes), lsb=1
    )


def test_other_axes_are_refused_with_the_value() -> None:
    with pytest.raises(UnsupportedError, match=r"axes must be 2 and 3 of 4, got \[1\] of 4"):
        plan_model(mean("ReduceMean", (1, 6, 5, 7), None, None, axes=(1,)), "tflite")
