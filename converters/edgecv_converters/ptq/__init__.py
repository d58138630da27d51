"""Post-training quantization of float ONNX classifiers, by the same spec that QAT trains with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import onnx

from edgecv.qdq import Quantization, qdq_model, quantize_weights
from edgecv.spec import OpNode, place
from edgecv_converters.ptq.bias_correction import correct_biases
from edgecv_converters.ptq.calibrate import Calibration, calibrate
from edgecv_converters.ptq.read import read_float_graph
from edgecv_converters.ptq.records import quantizers_of_qdq

__all__ = [
    "Calibration",
    "annotate",
    "calibrate",
    "quantize_onnx",
    "quantizers_of_qdq",
    "read_float_graph",
]


def annotate(model: onnx.ModelProto | bytes) -> list[OpNode]:
    """A float ONNX classifier as the spec sees it; the twin of :func:`edgecv.quantize.annotate`.

    Raises:
        ModelLoadError: Not a valid ONNX file.
        UnsupportedError: Operators that the spec does not know, all of them in one message.
    """
    return read_float_graph(model).nodes()


def quantize_onnx(
    model: onnx.ModelProto | bytes,
    batches: Iterable[Any],
    *,
    threads: int = 0,
    bias_correction: bool = True,
) -> bytes:
    """A float ONNX classifier to a QDQ ONNX file of edgecv's form, int8 by min-max calibration and bias correction.

    Args:
        model: As :func:`edgecv.quantize.export_float` writes it, or a stranger's of the same
            operators, taking pictures in [0, 1].
        batches: Calibration pictures, arrays [N, 3, H, W] float32 in [0, 1].
        threads: For ONNX Runtime; 0 lets it choose.
        bias_correction: Take the mean error of the rounded weights off the biases.

    Raises:
        ModelLoadError: Not a valid ONNX file.
        UnsupportedError: Operators that the spec does not know.
        InputError: Pictures that do not fit, or values that are not finite.
        MissingExtraError: onnxruntime is not installed.
    """
    graph = read_float_graph(model)
    placement = place(graph.nodes())
    found = calibrate(graph, placement, batches, threads=threads)
    weights = quantize_weights(graph.weights)
    if bias_correction:
        weights = correct_biases(graph, weights, found.means)
    quantization = Quantization(placement, found.params, weights)
    content: bytes = qdq_model(graph, quantization).SerializeToString()
    return content
