"""Reads an artifact back and compares every quantization parameter and constant with its source.

Independent of the converter: nothing here knows a plan, a rule or the writer; the file is parsed anew
and tensors are found by name.
"""

from __future__ import annotations

from pathlib import Path

from edgecv.errors import ModelLoadError
from edgecv.verify.mismatch import Mismatch
from edgecv.verify.onnx_file import compare_onnx
from edgecv.verify.openvino_file import compare_openvino
from edgecv.verify.source import read_source
from edgecv.verify.tflite_file import compare_tflite

__all__ = ["Mismatch", "compare_parameters"]


def compare_parameters(artifact: str | Path, source: bytes | str | Path) -> list[Mismatch]:
    """Compare an artifact with the ONNX file that it was made from.

    Compared bit for bit: scale and zero point of every activation; integers, scales and zero points of
    every weight and bias; every float constant that operators compute with. A tensor that the artifact
    lacks is a mismatch, and so is one with numbers that the source does not have, but for what the
    converter adds: padded copies, biases of zeros and averages as filters of ones must be just that.
    Attributes of operators (strides, paddings, axes, Gemm's factors), manifests and digests are not
    looked at.

    Args:
        artifact: ``.tflite``, ``.xml`` (with the ``.bin`` beside it) or ``.onnx``, recognized by content.
        source: The ONNX file or its bytes.

    Returns:
        The differences; empty when the artifact carries the source's parameters. Of many differences in
        one tensor the first ones and their number are listed.

    Raises:
        ModelLoadError: A file cannot be read or parsed.
        MissingExtraError: The extra ``convert`` is not installed.
    """
    expected = read_source(source if isinstance(source, bytes) else _read(Path(source)))
    path = Path(artifact)
    data = _read(path)
    if data[4:8] == b"TFL3":
        return compare_tflite(data, expected)
    if data.lstrip()[:1] == b"<":
        return compare_openvino(data, _read(path.with_suffix(".bin")), expected)
    return compare_onnx(data, expected)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelLoadError(
            f"cannot read {str(path)!r} ({error.strerror})", cure="Check the path."
        ) from error
