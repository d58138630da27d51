"""Gates of the targets whose engines read the source's own operators: OpenVINO and ONNX Runtime."""

from __future__ import annotations

import re
from collections.abc import Collection

from edgecv.errors import ModelLoadError
from edgecv.verify.end_to_end import end_to_end
from edgecv.verify.gates import GateResult, shortened
from edgecv.verify.products import quantized_products
from edgecv.verify.subject import Findings, Subject
from edgecv_runtimes.base import ExecutedLayer, ListsLayers, summarize_precision
from edgecv_runtimes.registry import choose

__all__ = ["engine_gates"]


def engine_gates(subject: Subject) -> Findings:
    """Executed precision, error and agreement of an artifact in the engine that edgecv runs it with.

    Raises:
        MissingExtraError: The engine is not installed.
    """
    try:
        backend = choose("auto", subject.file.kind)(subject.file, threads=1)
        try:
            layers = backend.executed_layers() if isinstance(backend, ListsLayers) else ()
            layers = _named(layers, quantized_products(subject.model))
            # a tensor lies as in the source, whatever its shape suggests, unless the manifest says otherwise
            inputs = subject.edge(backend.inputs, "inputs", layout="")
            outputs = subject.edge(backend.outputs, "outputs", layout="")
            found = []
            for arrays in subject.feeds(inputs):
                answer = backend.infer({s.name: a for s, a in zip(inputs, arrays, strict=True)})
                found.append([answer[spec.name] for spec in outputs])
            answers = subject.answers(found, outputs)
        finally:
            backend.close()
    except ModelLoadError as error:
        return Findings((GateResult("engine", False, _refusal(error.what, subject)),))
    answer_gates, rows = end_to_end(
        answers, subject.samples, integer=subject.integer, kernels=backend.name
    )
    warnings = _in_float(layers) if subject.integer else ()
    return Findings((_precision(layers), *answer_gates), warnings, rows, layers)


def _named(
    layers: tuple[ExecutedLayer, ...], products: Collection[str]
) -> tuple[ExecutedLayer, ...]:
    """Layers under the source's names: OpenVINO says ``conv/WithoutBiases`` of what it took apart."""
    named = []
    for layer in layers:
        parts = layer.name.split("/")
        heads = ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
        named.append(layer._replace(name=next((n for n in heads if n in products), layer.name)))
    return tuple(named)


def _refusal(said: str, subject: Subject) -> str:
    """Why an engine does not take an artifact: where, where it says so, and what helps."""
    found = re.search(r"node: opset\d+::(\w+) (\S+)", said)
    where = f"at {found[1]} {found[2]!r}: " if found else ""
    if subject.file.kind != "openvino" or not subject.integer:
        return where + said
    return (
        f"{where}{said}; if onnxruntime quantized the model, prepare the float model first"
        " (python -m onnxruntime.quantization.preprocess --input FLOAT.onnx --output PREPARED.onnx), quantize"
        " PREPARED.onnx and convert that"
    )


def _precision(layers: tuple[ExecutedLayer, ...]) -> GateResult:
    """What the engine's runtime graph says. It decides nothing: float kernels give the same numbers."""
    share = sum(layer.precision == "int8" for layer in layers) / len(layers) if layers else None
    return GateResult("executed_precision", True, summarize_precision(layers), share)


def _in_float(layers: tuple[ExecutedLayer, ...]) -> tuple[str, ...]:
    others = [
        f"{layer.name} ({layer.kind}, {layer.precision})"
        for layer in layers
        if layer.precision != "int8"
    ]
    if not others:
        return ()
    return (f"{len(others)} of {len(layers)} layers do not run in int8: {shortened(others)}",)
