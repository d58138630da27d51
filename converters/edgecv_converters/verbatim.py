"""The plan of targets that read ONNX themselves: every operator stays as it is."""

from __future__ import annotations

from edgecv.errors import UnsupportedError
from edgecv_converters.ir import Graph
from edgecv_converters.plan import Plan, PlannedOp, PlannedTensor, Quantization
from edgecv_converters.records import quantizer_records
from edgecv_converters.targets import TargetSpec

__all__ = ["plan_verbatim"]


def plan_verbatim(graph: Graph, spec: TargetSpec) -> Plan:
    """Plan *graph* (after the reading passes) for a target whose engine does its own lowering.

    Raises:
        UnsupportedError: A shape that depends on the data; the engines get static shapes only.
    """
    tensors: list[PlannedTensor] = []
    index: dict[str, int] = {"": -1}
    for name, constant in graph.constants.items():
        quant = None
        if constant.quant is not None:
            scales = tuple(constant.quant.scales.tolist())
            quant = Quantization(
                scales, tuple(constant.quant.zero_points.tolist()), constant.quant.axis or 0
            )
        index[name] = len(tensors)
        shape, dtype = tuple(constant.data.shape), str(constant.data.dtype)
        tensors.append(PlannedTensor(name, shape, dtype, "weight", quant, constant.data))
    for name, value in graph.values.items():
        if value.shape is None:
            raise UnsupportedError(
                f"the shape of {name!r} depends on the data or on an unknown operator",
                cure="Export with static shapes; engines were seen to crash or lie otherwise.",
            )
        per_tensor = (
            Quantization((value.quant.scale,), (value.quant.zero_point,)) if value.quant else None
        )
        role = "input" if name in graph.inputs else "activation"
        index[name] = len(tensors)
        dtype = "int8" if value.quant else value.dtype
        tensors.append(PlannedTensor(name, value.shape, dtype, role, per_tensor))
    ops = tuple(
        PlannedOp(
            node.op,
            node.version,
            tuple(index[n] for n in node.inputs),
            tuple(index[n] for n in node.outputs),
            {},
            "verbatim",
            "the engine reads ONNX operators",
            node.sources,
        )
        for node in graph.nodes
    )
    return Plan(
        spec.target,
        tuple(tensors),
        ops,
        tuple(index[n] for n in graph.inputs),
        tuple(index[n] for n in graph.outputs),
        quantizer_records(graph),
    )
