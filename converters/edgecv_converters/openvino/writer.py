"""ONNX bytes to OpenVINO IR bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgecv.artifact.manifest import Manifest
from edgecv.errors import UnsupportedError
from edgecv.spec.types import TensorSpec
from edgecv_converters.model_info import model_info
from edgecv_runtimes.quiet import import_openvino

__all__ = ["write"]


def write(
    model: bytes, manifest: Manifest | None = None, inputs: Sequence[TensorSpec] = ()
) -> dict[str, bytes]:
    """The IR of an ONNX model with static shapes.

    ``read_model`` transforms nothing: DequantizeLinear becomes Convert, Subtract, Multiply with the file's
    own constants, QuantizeLinear a FakeQuantize beside them, so that scales, zero points and integers can
    be read back bit for bit. It compresses no weights: float16 ones come so (``onnx.float16``).

    Args:
        model: A whole ONNX file, batch bound.
        manifest: For ``rt_info/model_info``, or None.
        inputs: Of the file, likewise.

    Returns:
        ``{".xml": …, ".bin": …}``.

    Raises:
        MissingExtraError: OpenVINO is not installed.
        UnsupportedError: OpenVINO cannot read the model.
    """
    openvino = import_openvino()
    try:
        read = openvino.Core().read_model(model)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise UnsupportedError(
            f"OpenVINO {openvino.__version__} cannot read the model ({reason})",
            cure="Update OpenVINO, or convert to another target.",
        ) from error
    for key, text in (model_info(manifest, inputs) if manifest else {}).items():
        read.set_rt_info(text, ["model_info", key])
    _name_by_position(read)
    with tempfile.TemporaryDirectory(prefix="edgecv-") as folder:
        path = Path(folder) / "model.xml"
        openvino.save_model(read, path, compress_to_fp16=False)
        xml, weights = path.read_bytes(), path.with_suffix(".bin").read_bytes()
    return {".xml": xml, ".bin": weights}


def _name_by_position(model: Any) -> None:
    """Give the nodes that the frontend made names of their own: its counter goes on over the whole process."""
    for position, node in enumerate(model.get_ordered_ops()):
        if node.get_friendly_name() == node.get_name():
            node.set_friendly_name(f"{node.get_type_name()}:{position}")
