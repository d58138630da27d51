"""From source bytes to the files of one target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from edgecv.artifact.manifest import Manifest
from edgecv.spec.types import QuantParams, TensorSpec
from edgecv_converters.converted import Converted
from edgecv_converters.grids import edge_grids
from edgecv_converters.half import nothing_to_store, refuse_quantized
from edgecv_converters.ir import Array, Graph
from edgecv_converters.leave_out import leave_out
from edgecv_converters.onnx import writer as onnx_writer
from edgecv_converters.onnx.edges import with_edges
from edgecv_converters.onnx.float16 import store_in_float16
from edgecv_converters.openvino import writer as openvino_writer
from edgecv_converters.openvino.constants import store_second_roundings
from edgecv_converters.options import ReadOptions, WriteOptions
from edgecv_converters.passes import PIPELINE, READING, PassContext, run
from edgecv_converters.plan import Plan
from edgecv_converters.prepare import prepare
from edgecv_converters.reader import read
from edgecv_converters.records import edge_specs, quantizer_records
from edgecv_converters.targets import TargetSpec, load
from edgecv_converters.tflite.float16 import with_float16_constants
from edgecv_converters.tflite.lowering import lower_graph
from edgecv_converters.tflite.metadata import build_metadata
from edgecv_converters.tflite.performer import perform
from edgecv_converters.tflite.rules import default_registry
from edgecv_converters.verbatim import plan_verbatim

__all__ = ["convert_model", "plan_model"]


def plan_model(
    source: bytes,
    target: str,
    *,
    options: ReadOptions | None = None,
    write: WriteOptions | None = None,
) -> Plan:
    """See :func:`edgecv_converters.plan_model`."""
    return _work(source, target, options, write or WriteOptions()).plan


def convert_model(
    source: bytes,
    target: str,
    *,
    manifest: Manifest | None = None,
    options: ReadOptions | None = None,
    write: WriteOptions | None = None,
) -> Converted:
    """See :func:`edgecv_converters.convert_model`."""
    write = write or WriteOptions()
    work = _work(source, target, options, write)
    plan, graph = work.plan, work.graph
    if target == "tflite":
        layout = (write.layout or "nhwc").upper()
        inputs, outputs = (_tflite_specs(plan, i, layout) for i in (plan.inputs, plan.outputs))
        metadata = (
            {"TFLITE_METADATA": build_metadata(manifest, inputs, outputs)} if manifest else {}
        )
        files = {".tflite": perform(plan, metadata)}
    else:
        inputs, outputs = (
            edge_specs(graph, names, work.grids, write.layout)
            for names in (graph.inputs, graph.outputs)
        )
        if target == "openvino":
            readable = store_second_roundings(onnx_writer.write(work.source, graph))
            files = openvino_writer.write(readable, manifest, inputs)
        else:
            files = {".onnx": onnx_writer.write(work.source, graph, manifest, inputs)}
    return Converted(
        target,
        files,
        work.precision,
        inputs,
        outputs,
        plan.quantizers,
        plan.left_out,
        plan,
        plan.warnings,
    )


@dataclass(frozen=True)
class _Work:
    """What a target is made from.

    Attributes:
        source: The ONNX file as its engine gets it.
        graph: The same, read.
        grids: Grid of each of its edges that has one in the source.
        plan: What is done.
        precision: Of the artifact.
    """

    source: bytes
    graph: Graph
    grids: Mapping[str, QuantParams]
    plan: Plan
    precision: str


def _work(source: bytes, target: str, options: ReadOptions | None, write: WriteOptions) -> _Work:
    spec = load(target)
    source, left_out = leave_out(prepare(source, options), spec.leave_out)
    graph = read(source)
    if write.float16:
        refuse_quantized(graph)
    lower = _lowered if target == "tflite" else _verbatim
    work = lower(source, graph, spec, write)
    plan = replace(work.plan, left_out=left_out)
    if not write.float16:
        return replace(work, plan=plan)
    if not any(tensor.dtype == "float16" for tensor in plan.tensors):
        plan = replace(plan, warnings=(*plan.warnings, nothing_to_store(graph)))
    return replace(work, plan=plan, precision="float16")


def _lowered(source: bytes, graph: Graph, spec: TargetSpec, write: WriteOptions) -> _Work:
    """A target that is lowered operator by operator."""
    rules = default_registry()
    ready = run(PIPELINE, graph, PassContext(rules))
    plan = lower_graph(ready, spec, rules, write)
    if write.float16:
        plan = with_float16_constants(plan, spec)
    return _Work(source, graph, {}, plan, _precision(ready))


def _verbatim(source: bytes, graph: Graph, spec: TargetSpec, write: WriteOptions) -> _Work:
    """A target whose engine reads the source's own operators."""
    grids, context = edge_grids(graph), PassContext(default_registry())
    ready = run(READING, graph, context)
    records = quantizer_records(ready)
    edged = with_edges(source, write)
    if edged is not source:
        graph = read(edged)
        ready = run(READING, graph, context)
    plan = replace(plan_verbatim(ready, spec), quantizers=records)
    if write.float16:
        edged, halves = store_in_float16(edged)
        plan = _halved(plan, halves)
    return _Work(edged, graph, grids, plan, _precision(ready))


def _halved(plan: Plan, halves: Mapping[str, Array]) -> Plan:
    """*plan* with the constants that are stored in half the bytes."""
    tensors = [
        replace(t, dtype="float16", data=halves[t.name])
        if t.data is not None and t.name in halves
        else t
        for t in plan.tensors
    ]
    return replace(plan, tensors=tuple(tensors))


def _precision(graph: Graph) -> str:
    return "int8" if any(v.quant is not None for v in graph.values.values()) else "float32"


def _tflite_specs(plan: Plan, indices: tuple[int, ...], layout: str) -> tuple[TensorSpec, ...]:
    found = []
    for index in indices:
        tensor = plan.tensors[index]
        quant = tensor.quant_params()
        order = {4: layout, 2: "NC"}.get(len(tensor.shape), "")
        found.append(TensorSpec(tensor.name, tensor.shape, tensor.dtype, order, quant))
    return tuple(found)
