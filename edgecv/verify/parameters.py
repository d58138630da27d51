"""Reads an artifact back and compares every quantization parameter and constant with its source.

Independent of the converter: nothing here knows a plan, a rule or the writer; the file is parsed anew
and tensors are found by name.
"""

from __future__ import annotations

from pathlib import Path

from edgecv import artifact as artifact_files
from edgecv.errors import ModelLoadError
from edgecv.verify.edges import compare_edges
from edgecv.verify.mismatch import Mismatch
from edgecv.verify.onnx_file import compare_onnx
from edgecv.verify.openvino_file import compare_openvino
from edgecv.verify.source import read_source
from edgecv.verify.tflite_file import compare_tflite
from edgecv_converters import ReadOptions, WriteOptions, prepare_source
from edgecv_converters.leave_out import GROUPS, leave_out
from edgecv_converters.onnx.edges import with_edges

__all__ = ["Mismatch", "compare_parameters"]


def compare_parameters(
    artifact: str | Path, source: bytes | str | Path, *, folder: Path | None = None
) -> list[Mismatch]:
    """Compare an artifact with the ONNX file that it was made from.

    Compared bit for bit: scale and zero point of every activation; integers, scales and zero points of
    every weight and bias; every float constant that operators compute with. A tensor that the artifact
    lacks is a mismatch, and so is one with numbers that the source does not have, but for what the
    converter adds: padded copies, biases of zeros and averages as filters of ones must be just that.
    What a TFLite file holds in another form (batch normalizations as weights, an epsilon as a constant)
    is computed anew from the source.
    Quantizers that the artifact's manifest lists as left out, and that belong to a group which targets
    may leave out, are not expected; any other that lacks is a mismatch.
    Open dimensions of the source have the sizes that the manifest says, and what is then constant in it
    (shapes, and scales computed from them) is computed by the same library as in a conversion.
    In a float16 artifact a float constant may be the source's rounded to float16, bit for bit.
    Clamps are compared, in OpenVINO by their bounds. Other attributes of operators (strides, paddings,
    axes, Gemm's factors), manifests and digests are not looked at.

    Args:
        artifact: ``.tflite``, ``.xml`` (with the ``.bin`` beside it) or ``.onnx``, recognized by content.
        source: The ONNX file or its bytes.
        folder: Where the source lies, for constants that it keeps in other files; known for a path.

    Returns:
        The differences; empty when the artifact carries the source's parameters. Of many differences in
        one tensor the first ones and their number are listed.

    Raises:
        ModelLoadError: A file cannot be read or parsed.
        MissingExtraError: The extra ``convert`` is not installed.
    """
    file = artifact_files.read(artifact, check="off")
    manifest = file.manifest
    if isinstance(source, str | Path):
        folder, source = Path(source).parent, _read(Path(source))
    parent = (manifest.parent if manifest else None) or {}
    given = prepare_source(source, ReadOptions.from_json(parent), folder=folder)
    left_out = manifest.left_out if manifest else ()
    given, _ = leave_out(given, tuple(GROUPS), only=left_out)
    halves = manifest is not None and manifest.precision == "float16"
    plain = read_source(given)
    edges = compare_edges(manifest, plain)
    if file.kind == "tflite":
        return edges + compare_tflite(file.body, plain, halves=halves)
    expected = read_source(with_edges(given, WriteOptions.from_json(parent)))
    if file.kind == "openvino":
        weights = file.weights or b""
        return edges + compare_openvino(file.body, weights, expected, halves=halves)
    return edges + compare_onnx(file.body, expected, halves=halves)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelLoadError(
            f"cannot read {str(path)!r} ({error.strerror})", cure="Check the path."
        ) from error
