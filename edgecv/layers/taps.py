"""Tensors inside a model that can be read while it runs, in real numbers, whatever its format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

from edgecv.artifact import ModelFile
from edgecv.errors import UnsupportedError

__all__ = ["Array", "Tap", "Tapped", "open_taps"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Tap:
    """One activation.

    Attributes:
        name: By which it is read; unique in the file.
        known_as: Names that the same values have in other files of the model; empty where they have none. A
            quantized tensor answers to the name of the tensor in front of its quantizer, too.
        sources: Positions, in the list of taps, of those it is computed from.
        step: Its quantization step, in real units, or None where it is floating point.
        channels_last: Whether four dimensions are NHWC.
    """

    name: str
    known_as: tuple[str, ...] = ()
    sources: tuple[int, ...] = ()
    step: float | None = None
    channels_last: bool = False


class Tapped(Protocol):
    """A model whose activations can be read.

    Attributes:
        taps: In the order of execution; the inputs come first.
    """

    taps: tuple[Tap, ...]

    def read(self, feed: Array, names: Sequence[str]) -> Mapping[str, Array]:
        """Run once.

        Args:
            feed: The only input, in the file's own dtype and layout.
            names: Of the taps to read (:attr:`Tap.name`).

        Returns:
            Name → float32 real values in the file's own order of dimensions. A tap that turns out to hold
            no numbers that can be compared is missing.

        Raises:
            ModelLoadError: The engine fails.
        """
        ...


def open_taps(file: ModelFile) -> Tapped:
    """Read the graph of a model.

    Args:
        file: Of kind ``"tflite"``, ``"onnx"`` or ``"openvino"``.

    Raises:
        UnsupportedError: Another kind.
        MissingExtraError: Its engine is not installed.
        ModelLoadError: The engine refuses it.
    """
    if file.kind == "tflite":
        from edgecv.layers.litert import LiteRTTaps

        return LiteRTTaps(file)
    if file.kind == "onnx":
        from edgecv.layers.onnx import OnnxTaps

        return OnnxTaps(file)
    if file.kind == "openvino":
        from edgecv.layers.openvino import OpenVINOTaps

        return OpenVINOTaps(file)
    raise UnsupportedError(
        f"the tensors inside a {file.kind} file cannot be read",
        cure="Compare .tflite, .onnx or .xml files layer by layer.",
    )
