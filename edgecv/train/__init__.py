"""Training: float, then quantization-aware from the float model; run folders and exports."""

from __future__ import annotations

from edgecv.errors import require

require("torch", "timm", "safetensors", "yaml", extra="train")

from edgecv.train.checkpoint import export_checkpoint  # noqa: E402
from edgecv.train.export import ExportedRun, export_run, load_float_model, load_qat_model  # noqa: E402
from edgecv.train.recipe import Recipe  # noqa: E402
from edgecv.train.run import TrainedRun, train_run  # noqa: E402

__all__ = [
    "ExportedRun",
    "Recipe",
    "TrainedRun",
    "export_checkpoint",
    "export_run",
    "load_float_model",
    "load_qat_model",
    "train_run",
]
