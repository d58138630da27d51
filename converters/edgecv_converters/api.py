"""From source bytes to the files of one target."""

from __future__ import annotations

from dataclasses import replace

from edgecv.artifact.manifest import Manifest
from edgecv.spec.types import TensorSpec
from edgecv_converters.converted import Converted
from edgecv_converters.ir import Graph
from edgecv_converters.leave_out import leave_out
from edgecv_converters.onnx import writer as onnx_writer
from edgecv_converters.openvino import writer as openvino_writer
from edgecv_converters.options import ReadOptions
from edgecv_converters.passes import PIPELINE, READING, PassContext, run
from edgecv_converters.plan import Plan
from edgecv_converters.prepare import prepare
from edgecv_converters.reader import read
from edgecv_converters.records import edge_specs
from edgecv_converters.targets import load
from edgecv_converters.tflite.lowering import lower_graph
from edgecv_converters.tflite.metadata import build_metadata
from edgecv_converters.tflite.performer import perform
from edgecv_converters.tflite.rules import default_registry
from edgecv_converters.verbatim import plan_verbatim

__all__ = ["convert_model", "plan_model"]


def plan_model(source: bytes, target: str, *, options: ReadOptions | None = None) -> Plan:
    """See :func:`edgecv_converters.plan_model`."""
    source = prepare(source, options)
    reduced, left_out = leave_out(source, load(target).leave_out)
    return replace(_plan(read(reduced), target)[0], left_out=left_out)


def convert_model(
    source: bytes,
    target: str,
    *,
    manifest: Manifest | None = None,
    options: ReadOptions | None = None,
) -> Converted:
    """See :func:`edgecv_converters.convert_model`."""
    spec = load(target)
    source, left_out = leave_out(prepare(source, options), spec.leave_out)
    graph = read(source)
    plan, precision = _plan(graph, target)
    plan = replace(plan, left_out=left_out)
    if target == "tflite":
        inputs, outputs = _tflite_specs(plan, plan.inputs), _tflite_specs(plan, plan.outputs)
        metadata = (
            {"TFLITE_METADATA": build_metadata(manifest, inputs, outputs)} if manifest else {}
        )
        files = {".tflite": perform(plan, metadata)}
    else:
        inputs, outputs = edge_specs(graph, graph.inputs), edge_specs(graph, graph.outputs)
        if target == "openvino":
            files = openvino_writer.write(onnx_writer.write(source, graph), manifest)
        else:
            files = {".onnx": onnx_writer.write(source, graph, manifest)}
    return Converted(
        target,
        files,
        precision,
        inputs,
        outputs,
        plan.quantizers,
        plan.left_out,
        plan,
        plan.warnings,
    )


def _plan(graph: Graph, target: str) -> tuple[Plan, str]:
    """The plan and the precision of the file."""
    spec, rules = load(target), default_registry()
    if target == "tflite":
        ready = run(PIPELINE, graph, PassContext(rules))
        plan = lower_graph(ready, spec, rules)
    else:
        ready = run(READING, graph, PassContext(rules))
        plan = plan_verbatim(ready, spec)
    return plan, "int8" if any(v.quant is not None for v in ready.values.values()) else "float32"


def _tflite_specs(plan: Plan, indices: tuple[int, ...]) -> tuple[TensorSpec, ...]:
    found = []
    for index in indices:
        tensor = plan.tensors[index]
        quant = tensor.quant_params()
        layout = {4: "NHWC", 2: "NC"}.get(len(tensor.shape), "")
        found.append(TensorSpec(tensor.name, tensor.shape, tensor.dtype, layout, quant))
    return tuple(found)
