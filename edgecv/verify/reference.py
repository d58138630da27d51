"""ONNX Runtime without optimizations: every operator as the file has it, which all engines are held against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgecv.artifact import ModelFile
from edgecv.errors import ModelLoadError
from edgecv.verify.source import Array, Rounding, to_int8
from edgecv_converters.reader import parse
from edgecv_runtimes.onnxruntime import OnnxRuntimeBackend

__all__ = ["Rounded", "reference_outputs", "reference_roundings"]

#: Distance from a half, in steps, that float32 arithmetic decides by chance.
_HALFWAY = 1e-4


def reference_outputs(
    source: bytes, samples: Sequence[Mapping[str, Array]], *, optimize: bool = False
) -> list[list[Array]]:
    """The answers of a model.

    Args:
        source: The ONNX file; an open batch is bound to 1.
        samples: Input name → array.
        optimize: With the engine's optimizations: not the reference, but how far from it one may be.

    Returns:
        Per sample an array for each output, in the file's order.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        ModelLoadError: ONNX Runtime refuses the model or fails.
    """
    names = [output.name for output in parse(source).graph.output]
    return list(_run(source, names, samples, optimize=optimize))


@dataclass(frozen=True, eq=False)
class Rounded:
    """What one QuantizeLinear gives for one sample.

    Attributes:
        integers: int8 terms, in the source's order.
        ties: Share of the elements that lay halfway between two integers before they were rounded;
            engines round those either way.
    """

    integers: Array
    ties: float


def reference_roundings(
    source: bytes, roundings: Sequence[Rounding], samples: Sequence[Mapping[str, Array]]
) -> list[dict[str, Rounded]]:
    """Quantized tensors inside a model.

    Args:
        source: The ONNX file.
        roundings: QuantizeLinear operators of it.
        samples: Input name → array.

    Returns:
        Per sample, name of the integer tensor → what it holds.

    Raises:
        EdgecvError: As :func:`reference_outputs`.
    """
    wanted = list({rounding.output: rounding for rounding in roundings}.values())
    given = {name for sample in samples for name in sample}
    names = [name for r in wanted for name in (r.output, r.input) if name not in given]
    names = list(dict.fromkeys(names))
    if not wanted:
        return [{} for _ in samples]
    found: list[dict[str, Rounded]] = []
    for sample, arrays in zip(samples, _run(source, names, samples), strict=True):
        tensors = {**sample, **dict(zip(names, arrays, strict=True))}
        found.append({r.output: _rounded(r, tensors) for r in wanted})
        # the real numbers are four times as large as the integers
        del tensors
    return found


def _rounded(rounding: Rounding, tensors: Mapping[str, Array]) -> Rounded:
    integers = tensors[rounding.output]
    steps = tensors[rounding.input].astype(np.float64) / float(rounding.scales[0])
    halfway = np.abs(steps - np.floor(steps) - 0.5) < _HALFWAY
    limits = np.iinfo(integers.dtype)
    halfway &= (integers > limits.min) & (integers < limits.max)
    in_int8 = to_int8(integers, np.zeros(1, np.int64), str(integers.dtype))[0]
    return Rounded(in_int8, float(halfway.mean()) if halfway.size else 0.0)


def _run(
    source: bytes,
    names: Sequence[str],
    samples: Sequence[Mapping[str, Array]],
    *,
    optimize: bool = False,
) -> Iterator[list[Array]]:
    """Tensors of *names* for each sample, one after the other."""
    from onnx import helper

    model = parse(source)
    kept = {output.name: output for output in model.graph.output}
    wanted = [kept.get(name) or helper.make_empty_tensor_value_info(name) for name in names]
    copies = [type(value).FromString(value.SerializeToString()) for value in wanted]
    del model.graph.output[:]
    model.graph.output.extend(copies)
    file = ModelFile("onnx", None, model.SerializeToString(), None, None, "unsigned")
    try:
        backend = OnnxRuntimeBackend(file, threads=1, optimize=optimize)
        for sample in samples:
            answer = backend.infer(sample)
            yield [answer[name] for name in names]
    except ModelLoadError as error:
        raise ModelLoadError(
            f"the source cannot be verified: {error.what}",
            cure="Convert without verification (--no-verify) if the model is right.",
        ) from error
    backend.close()
