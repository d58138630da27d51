"""Relu and Clip of the source, which a TFLite file has as operators or inside the operators before them."""

from __future__ import annotations

from collections.abc import Mapping

from edgecv.verify.mismatch import Mismatch
from edgecv.verify.source import Source
from edgecv.verify.tflite_reading import FileModel

__all__ = ["clamp_of", "compare_clamps"]

#: (low, high) → what kernels call it.
_CLAMPS = {(0.0, float("inf")): "RELU", (0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1"}
#: float32's largest number stands for "no bound" in some exporters' files.
_HUGE = 3.4e38
#: Operators of the source that clamp nothing, and compute what a file's operator can clamp.
_PLAIN = (
    "Add", "AveragePool", "BatchNormalization", "Concat", "Conv", "Div", "Gemm", "MatMul", "MaxPool", "Mul", "Sub",
)  # fmt: skip
#: Operators of the file that give what they read another form.
_COPYING = ("DEQUANTIZE", "PAD", "QUANTIZE", "RESHAPE", "SLICE", "TRANSPOSE")


def clamp_of(name: str, source: Source) -> str | None:
    """The clamp that the source's operator with result *name* is: ``"NONE"``, ``"RELU"``, …; None if unknown.

    Args:
        name: Of a tensor of the source.
        source: The source.
    """
    op, inputs = source.producers.get(name, ("", ()))
    if op == "Relu":
        return "RELU"
    if op != "Clip":
        return "NONE" if op in _PLAIN else None
    bounds = []
    for position, none in ((1, -float("inf")), (2, float("inf"))):
        bound = inputs[position] if len(inputs) > position else ""
        values = source.real(bound) if bound else None
        if bound and (values is None or values.size != 1):
            return None
        number = none if values is None else float(values.reshape(-1)[0])
        bounds.append(none if abs(number) > _HUGE else number)
    return _CLAMPS.get((bounds[0], bounds[1]))


def compare_clamps(
    file: FileModel,
    source: Source,
    origins: Mapping[str, str],
) -> list[Mismatch]:
    """Every operator of the file clamps what the source clamps there, and to the same bounds.

    Args:
        file: The artifact.
        source: What to compare with.
        origins: Name of a tensor of the file → the tensor that an operator of the source computes for it.
    """
    mismatches = []
    for operator in file.operators:
        name = operator.outputs[0].removesuffix(":float").removesuffix(":int8")
        if operator.op in _COPYING or name not in origins:
            continue
        wanted = clamp_of(origins[name], source)
        there = operator.op if operator.op in _CLAMPS.values() else operator.clamp
        if wanted is not None and wanted != there:
            mismatches.append(Mismatch(name, "clamp", wanted, there))
    return mismatches
