"""Plans that carry every parameter and compute something else: the tensor is named, nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import OnnxModel, conv_weights, small_resnet

import edgecv_converters
from edgecv import artifact
from edgecv.conversion import VerifyOptions, convert
from edgecv.verify.gates import VerificationFailedError
from edgecv.verify.parameters import compare_parameters
from edgecv_converters import Plan
from edgecv_converters.plan import PlannedOp, PlannedTensor
from edgecv_converters.tflite import lowering
from edgecv_converters.tflite.ops import matmul
from edgecv_converters.tflite.performer import perform

Edit = Callable[[Plan], Plan]


def with_op(plan: Plan, place: int, op: PlannedOp, *more: PlannedTensor) -> Plan:
    """*plan* with another operator there, and tensors behind the others."""
    ops = (*plan.ops[:place], op, *plan.ops[place + 1 :])
    return replace(plan, tensors=(*plan.tensors, *more), ops=ops)


def find(plan: Plan, operator: str, number: int = 0) -> tuple[int, PlannedOp]:
    found = [(place, op) for place, op in enumerate(plan.ops) if op.op == operator]
    return found[number]


def pads_moved_by_one(plan: Plan) -> Plan:
    place, op = find(plan, "PAD")
    pads = plan.tensors[op.inputs[1]]
    assert pads.data is not None
    moved = pads.data.copy()
    moved[1] += (1, -1)
    other = replace(pads, name="moved", data=moved)
    inputs = (op.inputs[0], len(plan.tensors))
    return with_op(plan, place, replace(op, inputs=inputs), other)


def no_pads(plan: Plan) -> Plan:
    place, op = next((p, o) for p, o in enumerate(plan.ops) if o.options.get("Padding") == "SAME")
    return with_op(plan, place, replace(op, options={**op.options, "Padding": "VALID"}))


def an_operand_twice(plan: Plan) -> Plan:
    place, op = find(plan, "ADD")
    return with_op(plan, place, replace(op, inputs=(op.inputs[0], op.inputs[0])))


def operands_swapped(plan: Plan) -> Plan:
    place, op = find(plan, "SUB")
    return with_op(plan, place, replace(op, inputs=op.inputs[::-1]))


def halves_swapped(plan: Plan) -> Plan:
    place, op = find(plan, "CONCATENATION")
    return with_op(plan, place, replace(op, inputs=op.inputs[::-1]))


def fields() -> OnnxModel:
    """What the small ResNet lacks: a difference and a concatenation."""
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", (1, 3, 8, 8), (float(np.float32(1 / 255)), -128))
    arms = []
    for name in ("left", "right"):
        weight, bias, scale = conv_weights(rng, model, name, (4, 3, 3, 3), 1 / 255)
        arms.append(model.op("Conv", [x, weight, bias], name, (scale, 0), pads=[1] * 4))
    difference = model.op("Sub", arms, "difference", (0.03, 1))
    return model.output(model.op("Concat", [difference, difference], "y", (0.03, 1), axis=1))


@pytest.fixture
def lowered(monkeypatch: pytest.MonkeyPatch) -> Callable[[Edit], None]:
    """Let the converter plan something else, and write that."""
    right = edgecv_converters.convert_model

    def install(edit: Edit) -> None:
        def wrong(source: bytes, target: str, **options: Any) -> Any:
            converted = right(source, target, **options)
            plan = edit(converted.plan)
            return replace(converted, plan=plan, files={".tflite": perform(plan)})

        monkeypatch.setattr(edgecv_converters, "convert_model", wrong)

    return install


@pytest.mark.parametrize(
    ("edit", "model", "tensor"),
    [
        (pads_moved_by_one, small_resnet, "act1 (PAD, CONV_2D): max "),
        (an_operand_twice, small_resnet, "layer1.act2 (ADD): max "),
        (operands_swapped, fields, "difference (SUB): max "),
    ],
)
def test_the_wrong_operator_is_named(
    edit: Edit,
    model: Callable[[], OnnxModel],
    tensor: str,
    tmp_path: Path,
    lowered: Callable[[Edit], None],
) -> None:
    source, kept = tmp_path / "source.onnx", tmp_path / "failed"
    source.write_bytes(model().bytes())
    convert(source, out=tmp_path / "right")
    lowered(edit)
    with pytest.raises(VerificationFailedError) as stopped:
        convert(source, out=tmp_path / "wrong", verify_options=VerifyOptions(keep_failed=kept))
    report = stopped.value.report
    failed = {gate.name: gate.detail for gate in report.failed}
    assert {"tensors_xnnpack", "tensors_builtin"} <= set(failed)
    for kernels in ("xnnpack", "builtin"):
        assert failed[f"tensors_{kernels}"].startswith(tensor)
        # and no other: each operator got the reference's integers
        assert ";" not in failed[f"tensors_{kernels}"]
        rows = [r for r in report.tensors if (r.kernels, r.unit) == (kernels, "LSB")]
        assert [r.tensor for r in rows if not r.passed] == [tensor.split(" ")[0]]
    assert f"tensors_xnnpack: {tensor}" in str(stopped.value)
    assert not (tmp_path / "wrong").exists()
    # the parameters are all there: nothing else would have noticed
    (found,) = kept.iterdir()
    assert compare_parameters(found, source) == []
    assert artifact.read(found).manifest.verification["verified"] is False  # type: ignore[union-attr,index]


def test_shapes_that_contradict_each_other(tmp_path: Path, lowered: Callable[[Edit], None]) -> None:
    """A file that no engine should be given: the operator is named, and nothing runs."""
    source = tmp_path / "source.onnx"
    source.write_bytes(small_resnet().bytes())
    lowered(no_pads)
    with pytest.raises(VerificationFailedError) as stopped:
        convert(source, out=tmp_path / "wrong")
    (gate,) = stopped.value.report.gates
    assert (gate.name, gate.passed) == ("parameters", False)
    assert "CONV_2D: its result has the shape" in gate.detail
    assert not (tmp_path / "wrong").exists()


def test_parts_of_a_concatenation_in_the_wrong_order(
    tmp_path: Path, lowered: Callable[[Edit], None]
) -> None:
    rng = np.random.default_rng(0)
    model = OnnxModel()
    x = model.input("input", (1, 3, 8, 8), (float(np.float32(1 / 255)), -128))
    weight, bias, scale = conv_weights(rng, model, "arm", (3, 3, 1, 1), 1 / 255)
    arm = model.op("Conv", [x, weight, bias], "arm", (scale, 0))
    source = tmp_path / "source.onnx"
    source.write_bytes(model.output(model.op("Concat", [arm, x], "y", (scale, 0), axis=1)).bytes())
    convert(source, out=tmp_path / "right")
    lowered(halves_swapped)
    with pytest.raises(
        VerificationFailedError, match=r"tensors_xnnpack: y \(.*CONCATENATION\): max"
    ):
        convert(source, out=tmp_path / "wrong")


def test_an_operator_outside_the_delegate_without_a_warning(
    tmp_path: Path, lowered: Callable[[Edit], None]
) -> None:
    model = OnnxModel()
    x = model.input("x", (1, 4, 6, 6), (0.05, 3))
    pool = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}
    source = tmp_path / "source.onnx"
    source.write_bytes(model.output(model.op("MaxPool", [x], "y", (0.05, 3), **pool)).bytes())
    said = convert(source, out=tmp_path / "right")
    (warning,) = said.report["warnings"]
    assert "PADV2 'x:pad'" in warning
    gate = said.report["gates"]["delegate"]
    assert (gate["value"], gate["limit"]) == (1, 1)
    assert "1 of 2 operators outside (PADV2; see the warnings)" in gate["detail"]
    lowered(lambda plan: replace(plan, warnings=()))
    message = r"delegate: .*PADV2 'x:pad' runs outside, without a warning"
    with pytest.raises(VerificationFailedError, match=message):
        convert(source, out=tmp_path / "wrong")


def test_a_warning_about_an_operator_that_the_delegate_takes(
    tmp_path: Path, lowered: Callable[[Edit], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgecv.verify import tflite_gates
    from edgecv_converters.tflite.xnnpack import Outside

    false = Outside("ADD", "layer1.act2", (), "XNNPACK", "it is Tuesday")
    monkeypatch.setattr(tflite_gates, "find_outside", lambda plan, engine: (false,))
    lowered(lambda plan: replace(plan, warnings=(str(false),)))
    source = tmp_path / "source.onnx"
    source.write_bytes(small_resnet().bytes())
    message = "delegate: .*ADD 'layer1.act2' runs inside, against the warning"
    with pytest.raises(VerificationFailedError, match=message):
        convert(source, out=tmp_path / "wrong")


def test_a_float_island_around_a_convolution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same parameters, same numbers, slow: only the count of the arithmetic notices."""
    right = lowering.runs_in_integers
    monkeypatch.setattr(
        lowering,
        "runs_in_integers",
        lambda graph, node: node.name != "node:layer1.bn1" and right(graph, node),
    )
    source = tmp_path / "source.onnx"
    source.write_bytes(small_resnet().bytes())
    with pytest.raises(VerificationFailedError) as stopped:
        convert(source, out=tmp_path / "wrong")
    (gate,) = stopped.value.report.failed
    assert gate.name == "int8_arithmetic"
    assert "CONV_2D 'layer1.act1:float' computes in float what the source quantizes" in gate.detail
    assert gate.value is not None
    assert 0.5 < gate.value < 0.99 == gate.limit


def product_of(zero: int, out: float) -> bytes:
    """A product whose right operand has a zero point, on a grid so fine that no bridge is planned."""
    model = OnnxModel()
    x, y = (
        model.input(name, (1, 16, 16), (0.03, point))
        for name, point in (("left", 5), ("right", zero))
    )
    return model.output(model.op("MatMul", [x, y], "y", (out, 0))).bytes()


def test_an_island_that_a_zero_point_demands_and_the_plan_names(tmp_path: Path) -> None:
    source = tmp_path / "source.onnx"
    source.write_bytes(product_of(9, 0.01))
    report = convert(source, out=tmp_path / "out").report
    gate = report["gates"]["int8_arithmetic"]
    assert (gate["passed"], gate["value"], gate["limit"]) == (True, 0.0, None)
    assert "in float for their zero points 1 of 1 products (see the warnings)" in gate["detail"]
    (warning,) = report["warnings"]
    assert "MatMul 'node:y' runs in float: its right operand 'right' has zero point 9" in warning


@pytest.mark.parametrize(("zero", "edit"), [
    (9, lambda plan: replace(plan, float_products=())),
    (0, lambda plan: replace(plan, float_products=("node:y",))),
])  # fmt: skip
def test_an_island_without_name_or_without_zero_point(
    zero: int, edit: Edit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lowered: Callable[[Edit], None]
) -> None:  # fmt: skip
    """Named alone is not enough: the source's right operand must have a zero point."""
    if not zero:
        monkeypatch.setattr(matmul, "_float_reason", lambda graph, node: "it is Tuesday")
    lowered(edit)
    source = tmp_path / "source.onnx"
    source.write_bytes(product_of(zero, 0.01))
    with pytest.raises(VerificationFailedError, match=r"int8_arithmetic: .*BATCH_MATMUL 'y:float'"):
        convert(source, out=tmp_path / "wrong")


def test_what_the_source_does_not_quantize_may_run_in_float(tmp_path: Path) -> None:
    model = OnnxModel()
    rng = np.random.default_rng(0)
    x = model.input("x", (1, 3, 8, 8))
    weight = model.constant("w", rng.normal(0, 0.2, (4, 3, 3, 3)).astype(np.float32))
    x = model.op("Conv", [x, weight], "first", (0.02, 0))
    weight, bias, scale = conv_weights(rng, model, "second", (4, 4, 1, 1), 0.02)
    source = tmp_path / "source.onnx"
    source.write_bytes(model.output(model.op("Conv", [x, weight, bias], "y", (scale, 0))).bytes())
    report = convert(source, out=tmp_path / "out").report
    gate = report["gates"]["int8_arithmetic"]
    assert gate["limit"] is None
    assert gate["value"] == pytest.approx(4 * 4 / (4 * 4 + 4 * 27))
    (warning,) = report["warnings"]
    assert "87.1% of the multiply-accumulates run in float: the source does not quantize" in warning
    assert "node:first" in warning
