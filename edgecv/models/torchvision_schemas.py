"""Lets torchvision import beside a torch that cannot load its compiled operators.

The torchvision wheel of the plain package index is built for CUDA. Beside the CPU build of torch
its ``_C.so`` finds no ``libcudart``, so the operator ``torchvision::nms`` is never defined, and
``import torchvision`` stops at the registration of its meta kernel: "operator torchvision::nms
does not exist". timm imports torchvision. Nothing that edgecv uses calls a compiled operator, so
defining the schemas of the two operators is enough. Everything here that imports timm comes through
:func:`import_timm`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import torch

from edgecv.errors import require

__all__ = ["ensure_torchvision_schemas", "import_timm"]

#: Operators that torchvision registers meta kernels for at import.
_OPERATORS = ("nms", "qnms")
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

#: The fragment must live as long as its operators; empty while nothing was defined.
_fragments: list[torch.library.Library] = []


def ensure_torchvision_schemas() -> bool:
    """Define the schemas that torchvision misses, only when its compiled operators cannot load.

    Call before the first import of torchvision; later calls change nothing.

    Returns:
        True when this process runs with the defined schemas, False when torchvision is whole or
        absent.
    """
    if _fragments or "torchvision" in sys.modules:
        return bool(_fragments)
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return False
    if _compiled_operators_load(Path(next(iter(spec.submodule_search_locations)))):
        return False
    fragment = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in _OPERATORS:
        fragment.define(f"{name}{_SCHEMA}")  # type: ignore[no-untyped-call]
    _fragments.append(fragment)
    return True


def _compiled_operators_load(folder: Path) -> bool:
    """Whether the extension in *folder* loads, tried as torchvision itself does."""
    for file in sorted([*folder.glob("_C*.so"), *folder.glob("_C*.pyd")]):
        try:
            torch.ops.load_library(file)  # type: ignore[no-untyped-call]
        except OSError:
            return False
        return True
    return False


def import_timm() -> ModuleType:
    """Timm, imported after torchvision was mended.

    Raises:
        MissingExtraError: timm is not installed.
    """
    require("timm", extra="train")
    ensure_torchvision_schemas()
    return importlib.import_module("timm")
