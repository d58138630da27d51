"""An engine that does nothing: what remains of a measurement is edgecv's own cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import numpy as np

from edgecv.artifact import ModelFile
from edgecv.errors import UnsupportedError
from edgecv_runtimes.base import Array

__all__ = ["NullBackend"]


class NullBackend:
    """Answers zeros of the shapes that the manifest names."""

    name: ClassVar[str] = "null"
    kinds: ClassVar[tuple[str, ...]] = ("tflite", "openvino", "onnx")

    def __init__(self, model: ModelFile, *, threads: int, float_precision: str = "f32") -> None:
        if model.manifest is None or not model.manifest.inputs:
            raise UnsupportedError(
                "the null backend reads shapes from the manifest, and there is none",
                cure="Use a file that edgecv converted.",
            )
        del threads, float_precision  # nothing runs
        self.inputs, self.outputs = model.manifest.inputs, model.manifest.outputs

    @classmethod
    def version(cls) -> str:
        """Always the same."""
        return "1"

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Zeros for every output."""
        del feeds
        return {spec.name: np.zeros(spec.shape, spec.dtype) for spec in self.outputs}

    def executed_precision(self) -> str:
        """Nothing executes."""
        return "nothing"

    def clone(self) -> Self:
        """Itself: it has no buffers."""
        return self

    def close(self) -> None:
        """Nothing to give back."""
