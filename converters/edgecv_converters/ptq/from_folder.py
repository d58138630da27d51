"""A float ONNX file quantized on a folder of pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgecv.artifact import seal
from edgecv.artifact.manifest import Manifest, Preprocess
from edgecv.data import batches_digest, picture_batches
from edgecv.errors import InputError
from edgecv_converters.ptq import quantize_onnx, quantizers_of_qdq
from edgecv_converters.ptq.model import OnnxFile

__all__ = ["quantize_from_folder"]


def quantize_from_folder(
    body: bytes, manifest: Manifest | None, folder: Path, *, pictures: int = 256
) -> bytes:
    """Post-training quantization by the spec: min-max ranges and bias correction.

    Args:
        body: Float ONNX with static shapes, taking [1, 3, H, W] in [0, 1].
        manifest: Its manifest; without one pictures are scaled so that their shorter side fits, and
            cropped.
        folder: Pictures, any structure.
        pictures: Use at most this many, evenly spread.

    Returns:
        A QDQ ONNX file with its manifest.

    Raises:
        InputError: The file is quantized already, or there are no pictures.
        UnsupportedError: Operators that the spec does not know.
    """
    if quantizers_of_qdq(body):
        raise InputError(
            "the model is quantized already", cure="Leave --calibrate out; its scales are kept."
        )
    told = manifest.preprocess if manifest is not None else None
    preprocess = told or Preprocess(size=OnnxFile(body).input_size)
    if any(preprocess.mean) or any(s != 1 for s in preprocess.std):
        raise InputError(
            f"the model wants mean {preprocess.mean} and std {preprocess.std} outside of it",
            cure="Put them into its first convolution: edgecv export --model … --normalize fold.",
        )
    batches = picture_batches(folder, preprocess, count=pictures)
    quantized = quantize_onnx(body, batches)
    about = manifest or Manifest((), None, (), (), "int8")
    calibration = {
        "method": "ptq",
        "pictures": sum(map(len, batches)),
        "digest": batches_digest(batches),
    }
    return seal(
        "onnx",
        quantized,
        None,
        replace(
            about,
            precision="int8",
            inputs=(),
            outputs=(),
            quantizers=quantizers_of_qdq(quantized),
            calibration=calibration,
            verification=None,
        ),
    )
