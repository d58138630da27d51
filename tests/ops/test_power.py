"""Pow and Sqrt against ONNX Runtime, and the layer normalization that onnxruntime quantizes operator by operator."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from differential import assert_float, assert_int8, delegation
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import OnnxModel

from edgecv.conversion import convert
from edgecv.errors import UnsupportedError
from edgecv.verify.teacher_forced import KERNELS, failures, teacher_forced
from edgecv_converters import convert_model, plan_model
from edgecv_runtimes.quiet import import_onnxruntime

Grid = tuple[float, int]
SHAPES = [(1, 3, 4, 5), (1, 9), (7,), (1, 2, 3, 4, 2)]
FORMS: dict[str, tuple[str, Any]] = {
    "square": ("Pow", np.float32(2)),
    "square-of-one-element": ("Pow", np.array([2], np.float32)),
    "square-of-integers": ("Pow", np.int64(2)),
    "root": ("Pow", np.float32(0.5)),
    "sqrt": ("Sqrt", None),
}


def model_of(
    form: str, shape: tuple[int, ...], grids: tuple[Grid, Grid] | None, opset: int = 17
) -> bytes:
    """A value of at least 0, to the power."""
    op, exponent = FORMS[form]
    model = OnnxModel(opset)
    x = model.input("input", shape, grids[0] if grids else None)
    if not grids:
        x = model.op("Relu", [x], "positive")
    inputs = [x] if exponent is None else [x, model.constant("exponent", exponent)]
    return model.output(model.op(op, inputs, "out", grids[1] if grids else None)).bytes()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", sorted(FORMS))
def test_float(form: str, shape: tuple[int, ...]) -> None:
    converted = assert_float(model_of(form, shape, None), relative=2e-6)
    ops = [op.op for op in converted.plan.ops if op.op != "RESHAPE"]
    assert ops == ["RELU", "MUL" if "square" in form else "SQRT"]
    assert delegation(converted.files[".tflite"]).outside == ()


@given(
    st.sampled_from(sorted(FORMS)), st.sampled_from(SHAPES), st.floats(0.01, 0.1), st.floats(0.02, 0.2),
    st.integers(-128, 127), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_int8(
    form: str, shape: tuple[int, ...], scale: float, out: float, out_zero: int, seed: int
) -> None:
    grids = ((float(np.float32(scale)), -128), (float(np.float32(out)), out_zero))
    converted = assert_int8(model_of(form, shape, grids), lsb=1, seed=seed)
    ops = [op.op for op in converted.plan.ops if op.op != "RESHAPE"]
    assert ops == ["DEQUANTIZE", "MUL" if "square" in form else "SQRT", "QUANTIZE"]
    assert delegation(converted.files[".tflite"]).outside == ()


@pytest.mark.parametrize("opset", [11, 12, 13, 15])
@pytest.mark.parametrize("form", ["square", "sqrt"])
def test_older_definitions(form: str, opset: int) -> None:
    assert_float(model_of(form, (1, 6), None, opset), relative=2e-6)


@pytest.mark.parametrize(
    ("exponent", "said"), [
        (np.float32(3), "the exponent must be 2 or 0.5, got 3"),
        (np.array([2, 3], np.float32), "the exponent must be a constant of one element, got 'exponent'"),
        (np.full((1, 1, 1), 2, np.float32), "the exponent must not have more dimensions than the base"),
    ],
)  # fmt: skip
def test_other_exponents_are_refused(exponent: np.ndarray, said: str) -> None:
    model = OnnxModel()
    y = model.op("Pow", [model.input("input", (1, 2)), model.constant("exponent", exponent)], "out")
    with pytest.raises(UnsupportedError, match=said):
        plan_model(model.output(y).bytes(), "tflite")


def test_a_constant_base_is_refused() -> None:
    model = OnnxModel()
    two = model.constant("two", np.float32(2))
    x = model.input("exponent", (1, 2))
    with pytest.raises(UnsupportedError, match="exponent must be a constant of one element"):
        plan_model(model.output(model.op("Pow", [two, x], "out")).bytes(), "tflite")


def test_rounded_after_every_operator_that_onnxruntime_knows() -> None:
    """Variance, sum, quotient, product: each keeps its grid, and its neighbors compute in float."""
    rng = np.random.default_rng(0)
    model = OnnxModel(13)
    x = model.input("input", (1, 5, 16), (0.05, 3))

    def number(name: str, value: float) -> str:
        # as onnxruntime rounds a constant of one element
        return model.weight(name, np.uint8(255), np.float32(value / 255), None)

    def vector(name: str, values: np.ndarray) -> str:
        return model.weight(name, np.clip(np.rint(values / 0.015) + 7, -128, 127).astype(np.int8), np.float32(0.015),
                            None, 7)  # fmt: skip

    centered = model.op("Sub", [x, model.op("ReduceMean", [x], "mean", axes=[-1])], "centered")
    square = model.op("Pow", [centered, model.constant("two", np.float32(2))], "square")
    variance = model.op("ReduceMean", [square], "variance", (0.08, -128), axes=[-1])
    steady = model.op("Add", [variance, number("eps", 1e-5)], "steady", (0.08, -128))
    y = model.op("Div", [centered, model.op("Sqrt", [steady], "root")], "normal", (0.02, 0))
    y = model.op("Mul", [y, vector("gamma", rng.uniform(0.5, 1.5, 16))], "scaled", (0.03, -4))
    y = model.op("Add", [y, vector("beta", rng.normal(0, 0.3, 16))], "out", (0.03, 2))
    source = model.output(y).bytes()
    converted = convert_model(source, "tflite")
    assert converted.warnings == ()
    assert delegation(converted.files[".tflite"]).outside == ()
    samples = [{"input": rng.normal(0, 2, (1, 5, 16)).astype(np.float32)} for _ in range(4)]
    for kernels in KERNELS:
        errors = teacher_forced(converted.plan, source, samples, kernels=kernels)
        assert [e.tensor for e in errors] == ["variance", "steady", "normal", "scaled", "out"]
        assert failures(errors, kernels=kernels) == []


@pytest.mark.parametrize("activation", ["QUInt8", "QInt8"])
@pytest.mark.parametrize("target", ["tflite", "openvino", "onnx"])
def test_what_onnxruntime_makes_of_opset_13(target: str, activation: str, tmp_path: Path) -> None:
    """Quantized as it was exported: every gate passes."""
    import torch

    import_onnxruntime()
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(16, 24), torch.nn.LayerNorm(24), torch.nn.Linear(24, 16), torch.nn.LayerNorm(16)
    )  # fmt: skip
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.eval(), (torch.rand(1, 6, 16),), stream, dynamo=False, opset_version=13,
            input_names=["input"], output_names=["out"],
        )  # fmt: skip
    rng = np.random.default_rng(0)

    class Reader(CalibrationDataReader):
        left = 8

        def get_next(self) -> dict[str, np.ndarray] | None:
            self.left -= 1
            return {"input": rng.uniform(0, 1, (1, 6, 16)).astype(np.float32)} if self.left >= 0 else None  # fmt: skip

    (tmp_path / "float.onnx").write_bytes(stream.getvalue())
    quantize_static(
        tmp_path / "float.onnx", tmp_path / "m.onnx", Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=getattr(QuantType, activation), weight_type=QuantType.QInt8,
    )  # fmt: skip
    result = convert(tmp_path / "m.onnx", target=target, out=tmp_path / "out")
    assert result.report["verified"]
    assert result.manifest.left_out == ()
    if target == "tflite":
        counts = result.plan.statistics()["by_type"]
        assert counts["SQRT"] == counts["DIV"] == 2
        assert "0 of" in result.report["gates"]["delegate"]["detail"]
