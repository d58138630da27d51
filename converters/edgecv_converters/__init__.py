"""ONNX in, files for boards out: ``convert_model`` in memory, ``plan_model`` to look before.

Importing this package loads no third-party package but NumPy; onnx, flatbuffers and the TFLite schema
come with the first call, engines never for the targets tflite and onnx.
"""

from __future__ import annotations

from pathlib import Path

from edgecv.artifact.manifest import Manifest
from edgecv.errors import InputError, require
from edgecv_converters.converted import Converted
from edgecv_converters.options import ReadOptions, WriteOptions
from edgecv_converters.plan import Plan
from edgecv_converters.targets import TARGETS

__all__ = [
    "TARGETS",
    "Converted",
    "Plan",
    "ReadOptions",
    "WriteOptions",
    "convert_model",
    "list_operators",
    "plan_model",
    "prepare_source",
]


def convert_model(
    source: bytes,
    target: str,
    *,
    manifest: Manifest | None = None,
    options: ReadOptions | None = None,
    write: WriteOptions | None = None,
) -> Converted:
    """Convert an ONNX model in memory.

    Quantizers of a QDQ model keep their scales and zero points bit for bit (uint8 becomes int8 by -128),
    weights and biases their integers. Nothing is written to disk but, for OpenVINO, to a temporary folder
    that is gone afterwards.

    Args:
        source: A whole ONNX file, float32 or QDQ (int8 or uint8), opset 11 to 21.
        target: One of :data:`TARGETS`.
        manifest: Labels and preprocessing for the metadata that other programs read; None leaves them out.
        options: Sizes for dimensions that *source* leaves open; without any, an open batch is 1.
        write: Form of the file: what its inputs and outputs are, float16 constants.

    Raises:
        UnsupportedError: An unknown target, operators without a rule (one error lists all), an open
            dimension other than the batch, or a form that *source* does not allow: integers at an edge
            that it does not quantize, float16 of a quantized model.
        InputError: *options* do not fit the model.
        ModelLoadError: *source* is damaged or contradicts itself.
        MissingExtraError: The extra ``convert`` (for OpenVINO also ``openvino``) is not installed.
    """
    _require_extra()
    from edgecv_converters import api

    return api.convert_model(source, target, manifest=manifest, options=options, write=write)


def plan_model(
    source: bytes,
    target: str,
    *,
    options: ReadOptions | None = None,
    write: WriteOptions | None = None,
) -> Plan:
    """What :func:`convert_model` would write, without writing it.

    Args:
        source: A whole ONNX file.
        target: One of :data:`TARGETS`.
        options: As in :func:`convert_model`.
        write: Likewise.

    Raises:
        EdgecvError: As :func:`convert_model`.
    """
    _require_extra()
    from edgecv_converters import api

    return api.plan_model(source, target, options=options, write=write)


def prepare_source(
    source: bytes, options: ReadOptions | None = None, *, folder: Path | None = None
) -> bytes:
    """The source in the form that every target starts from.

    Data that it keeps in other files is read in, open dimensions get their sizes, and operators that
    then compute constants (Shape, Gather, Concat, …) are replaced by their results. A file that needs
    nothing of it comes back as it is; so does a prepared one.

    Args:
        source: A whole ONNX file, without a manifest.
        options: As in :func:`convert_model`.
        folder: Where the file lies, for data beside it; None refuses such data.

    Raises:
        EdgecvError: As :func:`convert_model`.
    """
    _require_extra()
    from edgecv_converters.prepare import prepare

    return prepare(source, options, folder)


def list_operators(form: str = "table") -> str:
    """Which operators each target takes, in which types, and the tests that verify it.

    Args:
        form: ``"table"`` for a terminal, or ``"markdown"``: the text of ``docs/support.md``.

    Raises:
        InputError: Another form.
        MissingExtraError: The extra ``convert`` is not installed.
    """
    _require_extra()
    from edgecv_converters import support

    if form not in support.FORMATS:
        raise InputError(
            f"unknown form {form!r} of the list", cure=f"Forms: {', '.join(support.FORMATS)}."
        )
    return support.to_markdown() if form == "markdown" else support.to_text()


def _require_extra() -> None:
    require("onnx", "flatbuffers", "tflite", extra="convert")
