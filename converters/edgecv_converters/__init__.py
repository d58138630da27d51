"""ONNX in, files for boards out: ``convert_model`` in memory, ``plan_model`` to look before.

Importing this package loads no third-party package but NumPy; onnx, flatbuffers and the TFLite schema
come with the first call, engines never for the targets tflite and onnx.
"""

from __future__ import annotations

from edgecv.artifact.manifest import Manifest
from edgecv.errors import require
from edgecv_converters.converted import Converted
from edgecv_converters.plan import Plan
from edgecv_converters.targets import TARGETS

__all__ = ["TARGETS", "Converted", "Plan", "convert_model", "plan_model"]


def convert_model(source: bytes, target: str, *, manifest: Manifest | None = None) -> Converted:
    """Convert an ONNX model in memory.

    Quantizers of a QDQ model keep their scales and zero points bit for bit (uint8 becomes int8 by -128),
    weights and biases their integers. Nothing is written to disk but, for OpenVINO, to a temporary folder
    that is gone afterwards.

    Args:
        source: A whole ONNX file, float32 or QDQ (int8 or uint8), opset 11 to 21, batch 1 or dynamic.
        target: One of :data:`TARGETS`.
        manifest: Labels and preprocessing for the metadata that other programs read; None leaves them out.

    Raises:
        UnsupportedError: An unknown target, or operators without a rule (one error lists all).
        ModelLoadError: *source* is damaged or contradicts itself.
        MissingExtraError: The extra ``convert`` (for OpenVINO also ``openvino``) is not installed.
    """
    _require_extra()
    from edgecv_converters import api

    return api.convert_model(source, target, manifest=manifest)


def plan_model(source: bytes, target: str) -> Plan:
    """What :func:`convert_model` would write, without writing it.

    Args:
        source: A whole ONNX file.
        target: One of :data:`TARGETS`.

    Raises:
        EdgecvError: As :func:`convert_model`.
    """
    _require_extra()
    from edgecv_converters import api

    return api.plan_model(source, target)


def _require_extra() -> None:
    require("onnx", "flatbuffers", "tflite", extra="convert")
