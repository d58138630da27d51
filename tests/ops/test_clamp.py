"""Relu and Clip that stand alone, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from differential import assert_float, assert_int8, delegation
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import OnnxModel


def clamp(kind: str, model: OnnxModel, x: str, quant: tuple[float, int] | None) -> str:
    if kind == "Relu":
        return model.op("Relu", [x], "out", quant)
    low, high = {"relu6": (0.0, 6.0), "n1_to_1": (-1.0, 1.0), "open": (0.0, 3.4028235e38)}[kind]
    bounds = [model.constant("low", np.float32(low)), model.constant("high", np.float32(high))]
    return model.op("Clip", [x, *bounds], "out", quant)


KINDS = ["Relu", "relu6", "n1_to_1", "open"]


@given(
    st.sampled_from(KINDS),
    st.integers(-128, 127),
    st.integers(-128, 127),
    st.booleans(),
    st.integers(0, 99),
)
@settings(max_examples=50, deadline=None)
def test_int8(kind: str, zero: int, out_zero: int, picture: bool, seed: int) -> None:
    model = OnnxModel()
    x = model.input("input", (1, 3, 4, 5) if picture else (1, 9), (0.06, zero))
    y = clamp(kind, model, x, (0.03, out_zero))
    converted = assert_int8(model.output(y).bytes(), lsb=0, seed=seed)
    assert delegation(converted.files[".tflite"]).outside == ()


@pytest.mark.parametrize("kind", KINDS)
def test_float(kind: str) -> None:
    model = OnnxModel()
    y = clamp(kind, model, model.input("input", (1, 3, 4, 5)), None)
    assert_float(model.output(y).bytes(), relative=0.0)
