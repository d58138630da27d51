"""Which backends there are, and which one runs a kind of file."""

from __future__ import annotations

import importlib
from typing import Final, cast

from edgecv.errors import UnsupportedError
from edgecv_runtimes.base import Backend

__all__ = ["BUILTIN", "GROUP", "backend_names", "choose"]

#: Entry-point group under which other packages offer backends.
GROUP: Final = "edgecv.backends"

#: Name → module and class. A module imports its engine only when a model is loaded.
BUILTIN: Final = {
    "litert": "edgecv_runtimes.litert:LiteRTBackend",
    "openvino": "edgecv_runtimes.openvino:OpenVINOBackend",
    "onnxruntime": "edgecv_runtimes.onnxruntime:OnnxRuntimeBackend",
    "null": "edgecv_runtimes.null:NullBackend",
    "replay": "edgecv_runtimes.replay:ReplayBackend",
}
_DEFAULT: Final = {
    "tflite": "litert",
    "openvino": "openvino",
    "onnx": "onnxruntime",
    # an entry point like anybody's: the device side knows only its name
    "torch": "torch",
}


def backend_names() -> list[str]:
    """All names, the built-in ones first."""
    return [*BUILTIN, *sorted(set(_others()) - set(BUILTIN))]


def choose(name: str, kind: str) -> type[Backend]:
    """The backend *name*, or with ``"auto"`` the one made for *kind*.

    Args:
        name: ``"auto"``, a built-in name, or one of the entry-point group ``edgecv.backends``.
        kind: Kind of the model file.

    Raises:
        UnsupportedError: No backend has that name, or it does not run *kind*.
    """
    chosen = _DEFAULT[kind] if name == "auto" else name
    target = BUILTIN.get(chosen) or _others().get(chosen)
    if target is None:
        raise UnsupportedError(
            f"no backend is named {name!r}", cure=f"Backends: auto, {', '.join(backend_names())}."
        )
    module, _, attribute = target.partition(":")
    backend = cast("type[Backend]", getattr(importlib.import_module(module), attribute))
    if kind not in backend.kinds:
        raise UnsupportedError(
            f"the backend {chosen!r} runs {', '.join(backend.kinds)}, not {kind}",
            cure=f"Use backend={_DEFAULT[kind]!r} or 'auto'.",
        )
    return backend


def _others() -> dict[str, str]:
    """Backends of other packages."""
    # not at the top: it takes longer to import than all the rest of edgecv
    from importlib.metadata import entry_points

    return {entry.name: entry.value for entry in entry_points(group=GROUP)}
