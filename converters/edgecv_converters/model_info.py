"""Metadata that other programs read: Intel's model-api, and Ultralytics."""

from __future__ import annotations

from collections.abc import Sequence

from edgecv.artifact.manifest import Manifest
from edgecv.spec.types import TensorSpec

__all__ = ["model_info", "ultralytics_metadata"]


def model_info(manifest: Manifest, inputs: Sequence[TensorSpec] = ()) -> dict[str, str]:
    """Keys of ``model_info`` as openvino-model-api reads them from OpenVINO and ONNX files.

    Labels are joined by spaces, so that spaces inside them become ``_``. Only ``YES`` and ``True`` are
    read as true. Pixels come in as 0 to 255, in OpenCV's color order.

    Args:
        manifest: Labels and preprocessing.
        inputs: Of the file; integers are reached by mean and scale, too.

    >>> info = model_info(Manifest(("great white", "cat"), None, (), (), "int8"))
    >>> info["labels"], info["model_type"], info["output_raw_scores"]
    ('great_white cat', 'Classification', 'NO')
    """
    info = {"model_type": "Classification", "output_raw_scores": "NO"}
    if manifest.labels:
        info["labels"] = " ".join(label.replace(" ", "_") for label in manifest.labels)
    said = manifest.preprocess
    if said is not None:
        mean, std, digits = [255.0 * v for v in said.mean], [255.0 * v for v in said.std], 9
        grid = inputs[0].quantization if inputs else None
        if grid is not None:
            # few digits: our grid of float32(1/255) is meant to leave pixels as they are
            std, digits = [v * grid.scale for v in std], 6
            mean = [m - grid.zero_point * s for m, s in zip(mean, std, strict=True)]
        info["mean_values"] = " ".join(f"{v:.{digits}g}" for v in mean)
        info["scale_values"] = " ".join(f"{v:.{digits}g}" for v in std)
        info["reverse_input_channels"] = "YES" if said.color == "rgb" else "NO"
        # model-api's crop is the largest centered square; it has no crop fraction
        info["resize_type"] = "crop" if said.resize == "shortest" else "standard"
    return info


def ultralytics_metadata(manifest: Manifest, batch: int = 1) -> dict[str, object]:
    """Keys that ``ultralytics.YOLO`` reads from a classifier's file; in ONNX each value is its ``repr``.

    Args:
        manifest: Of the file.
        batch: Pictures that it takes at once.

    >>> ultralytics_metadata(Manifest(("cat", "dog"), None, (), (), "int8"))["names"]
    {0: 'cat', 1: 'dog'}
    """
    found: dict[str, object] = {
        "description": "edgecv classification model",
        "task": "classify",
        "stride": 1,
        "batch": batch,
        "channels": 3,
        "names": dict(enumerate(manifest.labels)),
        "args": {},
    }
    if manifest.preprocess is not None:
        found["imgsz"] = list(manifest.preprocess.size)
    return found
