"""The only doors to the engines: each is imported so that it stays silent on network and disk.

Two engines report home from a bare import (measured with openvino 2026.4.1 and onnxruntime 1.32.0):
OpenVINO through its model converter, which also makes ``~/intel`` and starts child processes; ONNX
Runtime by files under ``~/.cache/Microsoft`` and connections later. Everything in edgecv that needs
an engine asks here.

An absent engine is a :class:`~edgecv.errors.MissingExtraError` with the install command; one that
is installed and broken keeps its own traceback.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from types import ModuleType

from edgecv.errors import EdgecvError, MissingExtraError, UnsupportedError

__all__ = ["import_litert", "import_onnxruntime", "import_openvino"]

#: The part of OpenVINO that sends the event. Blocking it also halves the import.
_OPENVINO_CONVERTER = "openvino.tools.ovc"


def import_openvino() -> ModuleType:
    """Import ``openvino`` without its model converter.

    The converter stays unavailable afterwards (``openvino.convert_model`` is missing); edgecv reads
    models with ``Core.read_model`` only. OpenVINO that was imported before is returned as it is.

    Raises:
        MissingExtraError: The package is not installed.
    """
    if "openvino" not in sys.modules:
        # None makes the import of that name fail, which openvino/__init__.py expects
        sys.modules.setdefault(_OPENVINO_CONVERTER, None)  # type: ignore[arg-type]
    return _import("openvino", package="openvino", extra="openvino")


def import_onnxruntime() -> ModuleType:
    """Import ``onnxruntime`` with its telemetry off.

    ``onnxruntime.disable_telemetry_events()`` comes too late: files are written during the import.

    Raises:
        MissingExtraError: The package is not installed.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    return _import("onnxruntime", package="onnxruntime", extra="onnxruntime")


def import_litert() -> ModuleType:
    """Import a TFLite interpreter: ``ai_edge_litert``, else the legacy ``tflite_runtime``, else TensorFlow's.

    Returns:
        A module with the class ``Interpreter``.

    Raises:
        MissingExtraError: None of the packages is installed.
        UnsupportedError: Only the legacy package is there, beside NumPy 2: it imports, and then its
            interpreter cannot be constructed.
    """
    try:
        return _import("ai_edge_litert.interpreter", package="ai-edge-litert", extra="litert")
    except MissingExtraError as error:
        # name only the package that most boards want
        absent: EdgecvError = error
    try:
        legacy = _import(
            "tflite_runtime.interpreter", package="tflite-runtime", extra="tflite-runtime"
        )
    except MissingExtraError:
        pass
    else:
        import numpy as np

        if int(np.__version__.split(".")[0]) < 2:
            return legacy
        absent = UnsupportedError(
            f"the installed tflite-runtime needs numpy<2, and numpy {np.__version__} is installed",
            cure="Install the current engine with: pip install 'edgecv[litert]'"
            " (or, on 32-bit Arm: pip install 'edgecv[tflite-runtime]').",
        )
    # its C++ part logs every start, and each interpreter warns that it will move to LiteRT; errors stay
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter is deprecated")
    try:
        return _import(
            "tensorflow.lite.python.interpreter", package="tensorflow", extra="tensorflow"
        )
    except MissingExtraError:
        raise absent from None


def _import(module: str, *, package: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # a missing module inside the engine means a broken installation
        if error.name is None or error.name != module.split(".")[0]:
            raise
        raise MissingExtraError.of(package, extra) from error
