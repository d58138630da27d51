"""Gates of the target TFLite: every tensor alone, what the delegate takes, int8 arithmetic, the answers."""

from __future__ import annotations

from edgecv.errors import ModelLoadError
from edgecv.verify.end_to_end import Answers, end_to_end, error_gate
from edgecv.verify.gates import GateResult, TensorRow, shortened
from edgecv.verify.litert import KERNELS, Delegation, Interpreter, Outside
from edgecv.verify.products import crooked_products, quantized_products
from edgecv.verify.subject import Findings, Subject
from edgecv.verify.teacher_forced import TensorError, failures, leaves_integers, lessons
from edgecv_converters import Plan
from edgecv_converters.targets import load
from edgecv_converters.tflite.xnnpack import find_outside

__all__ = ["tflite_gates"]

#: Samples on which every tensor is computed alone: an interpreter per tensor and kernel set.
_FORCED = 2
#: Least share of the multiply-accumulates that the source quantizes which must run in int8.
_INT8_SHARE = 0.99


def tflite_gates(subject: Subject) -> Findings:
    """All gates that the subject allows: those that need the plan only where there is one.

    Raises:
        MissingExtraError: LiteRT is not installed.
    """
    plan = subject.plan
    findings = Findings()
    if plan is not None and subject.integer:
        findings += _every_tensor(subject, plan)
    try:
        interpreter = Interpreter(subject.file.body)
        counted = interpreter.delegation()
        if plan is not None:
            findings += Findings((_delegate(plan, counted),))
        if subject.integer:
            findings += _arithmetic(subject, plan, counted)
        answers = _answers(subject, interpreter)
        builtin = (
            None
            if subject.integer
            else _answers(subject, Interpreter(subject.file.body, "builtin"))
        )
    except ModelLoadError as error:
        return findings + Findings((GateResult("engine", False, error.what),))
    return findings + _end_to_end(subject, answers, builtin)


def _every_tensor(subject: Subject, plan: Plan) -> Findings:
    """Each tensor of the plan from the reference's integers, on both kernel sets."""
    errors: dict[str, list[TensorError]] = {kernels: [] for kernels in KERNELS}
    alone: set[int] = set()
    for lesson in lessons(plan, subject.model, subject.samples.arrays[:_FORCED]):
        alone.update(lesson.positions)
        for kernels in KERNELS:
            errors[kernels].append(lesson.run(kernels))
    findings = Findings()
    for kernels, found in errors.items():
        findings += _of_kernels(found, kernels)
    rest = [
        plan.tensors[op.outputs[0]].name
        for i, op in enumerate(plan.ops)
        if i not in alone and not leaves_integers(plan, op)
    ]
    if rest:
        said = (
            f"{len(rest)} of {len(plan.ops)} operators are compared end to end only, for want of a"
        )
        findings += Findings((), (f"{said} quantizer behind them: {shortened(rest)}",))
    return findings


def _of_kernels(errors: list[TensorError], kernels: str) -> Findings:
    wrong = failures(errors, kernels=kernels)
    bad = {error.tensor for error in wrong}
    rows = [_row(error, kernels, error.tensor not in bad) for error in errors]
    if wrong:
        wrong.sort(key=lambda error: error.mean_lsb, reverse=True)
        detail = shortened(wrong)
    else:
        largest = max((e.max_lsb for e in errors), default=0)
        mean = max((e.mean_lsb for e in errors), default=0.0)
        detail = (
            f"{len(errors)} tensors, each from the reference's integers: max {largest} LSB,"
            f" mean {mean:.2g}"
        )
    name = f"tensors_{kernels}"
    return Findings((GateResult(name, not wrong, detail, float(len(wrong)), 0.0),), (), tuple(rows))


def _row(error: TensorError, kernels: str, passed: bool) -> TensorRow:
    path = ", ".join(error.operators)
    return TensorRow(error.tensor, kernels, path, error.max_lsb, error.mean_lsb, "LSB", passed)


def _delegate(plan: Plan, counted: Delegation) -> GateResult:
    """What runs outside the delegate must be what the plan's warnings say."""
    said = find_outside(plan, load("tflite").engines["litert"])
    warned = {Outside(o.operator, o.tensor) for o in said if str(o) in plan.warnings}
    outside = set(counted.outside)
    unexpected = [
        f"{op} {tensor!r} runs outside, without a warning"
        for op, tensor in sorted(outside - warned)
    ]
    unexpected += [
        f"{op} {tensor!r} runs inside, against the warning"
        for op, tensor in sorted(warned - outside)
    ]
    pieces = f"{counted.partitions} XNNPACK partition{'' if counted.partitions == 1 else 's'}"
    detail = f"{pieces}, {len(outside)} of {counted.operators} operators outside"
    if outside:
        detail += f" ({shortened(sorted({op for op, _ in outside}))}; see the warnings)"
    if unexpected:
        detail = f"{pieces}; {shortened(unexpected)}"
    return GateResult("delegate", not unexpected, detail, float(len(outside)), float(len(warned)))


def _arithmetic(subject: Subject, plan: Plan | None, counted: Delegation) -> Findings:
    """Share of the multiply-accumulates in int8; a float island in a quantized product fails.

    But for products that the plan names and that no integer kernel takes: right operands with a zero point.
    """
    total = sum(product.macs for product in counted.products)
    if not total:
        return Findings()
    share = sum(p.macs for p in counted.products if p.integer) / total
    quantized = quantized_products(subject.model)
    said = f"{share:.1%} of {total:,} multiply-accumulates in int8"
    if plan is None:
        return Findings((GateResult("int8_arithmetic", True, said, share),))
    excused = crooked_products(subject.model).intersection(plan.float_products)
    nodes = {plan.tensors[op.outputs[0]].name: op.sources for op in plan.ops}
    floats = [p for p in counted.products if not p.integer]
    known = [p for p in floats if excused.intersection(nodes.get(p.tensor, ()))]
    islands = [
        f"{p.operator} {p.tensor!r} computes in float what the source quantizes"
        for p in floats
        if p not in known and any(quantized.get(node) for node in nodes.get(p.tensor, ()))
    ]
    if known:
        said += f", in float for their zero points {len(known)} of {len(counted.products)} products (see the warnings)"
    counting = share + sum(p.macs for p in known) / total
    everything = all(quantized.values())
    passed = not islands and (counting >= _INT8_SHARE or not everything)
    warnings: tuple[str, ...] = ()
    if counting < _INT8_SHARE and not everything:
        plain = [node for node, is_quantized in quantized.items() if not is_quantized]
        warnings = (
            f"{1 - counting:.1%} of the multiply-accumulates run in float: the source does not quantize"
            f" {shortened(plain)}",
        )
    detail = f"{said}; {shortened(islands)}" if islands else said
    limit = _INT8_SHARE if everything and not known else None
    return Findings((GateResult("int8_arithmetic", passed, detail, share, limit),), warnings)


def _answers(subject: Subject, interpreter: Interpreter) -> Answers:
    inputs = subject.edge(interpreter.inputs, "inputs")
    found = [interpreter.run(feed) for feed in subject.feeds(inputs)]
    return subject.answers(found, subject.edge(interpreter.outputs, "outputs"))


def _end_to_end(subject: Subject, answers: Answers, builtin: Answers | None) -> Findings:
    integer = subject.integer
    gates, rows = end_to_end(answers, subject.samples, integer=integer, kernels="xnnpack")
    if builtin is not None:
        second, more = error_gate(
            builtin, integer=integer, name="end_to_end_builtin", kernels="builtin"
        )
        gates, rows = (gates[0], second, *gates[1:]), rows + more
    return Findings(gates, (), rows)
