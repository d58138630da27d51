"""The tiny classifier, sealed, once per backend: what the conformance suite runs over."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import tiny_models

from edgecv import artifact
from edgecv.preprocess import to_input
from edgecv.runtime import Runtime

__all__ = ["CASES", "Case"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Case:
    """One backend with one kind of file.

    Attributes:
        backend: Its name.
        kind: Of the file.
        precision: Of the file.
        tolerance: Largest difference of a logit from the float reference; None when the backend does
            not compute.
        foreign: Of another package, whose engine may execute a file in its own way.
    """

    backend: str
    kind: str
    precision: str
    tolerance: float | None
    foreign: bool = False

    def __str__(self) -> str:
        return f"{self.backend}-{self.kind}-{self.precision}"

    def source(self) -> artifact.Source:
        """The sealed file, in memory."""
        return sealed(self.kind, self.precision)

    def open(self, threads: int | None = None) -> Runtime:
        """A runtime on it."""
        return Runtime(self.source(), backend=self.backend, threads=threads)

    def feed(self, runtime: Runtime, seed: int = 0) -> Array:
        """A seeded input in the file's own dtype and layout."""
        spec = runtime.info.inputs[0]
        preprocess = artifact.Preprocess(size=(tiny_models.HEIGHT, tiny_models.WIDTH))
        return to_input(picture(seed), spec, preprocess)

    def logits(self, runtime: Runtime, outputs: dict[str, Array]) -> Array:
        """Real logits [classes] from the outputs."""
        grid = runtime.info.outputs[0].quantization
        values = outputs["logits"][0].astype(np.float32)
        return values if grid is None else (values - grid.zero_point) * np.float32(grid.scale)


def picture(seed: int = 0) -> Array:
    """uint8 [8, 6, 3]: noise of another tint for each seed, so that answers differ clearly."""
    rng = np.random.default_rng(seed)
    brightest = rng.integers(20, 256, 3)
    return rng.integers(0, brightest + 1, (tiny_models.HEIGHT, tiny_models.WIDTH, 3)).astype(
        np.uint8
    )


@lru_cache
def sealed(kind: str, precision: str) -> artifact.Source:
    """The tiny classifier with its manifest."""
    weights = None
    if kind == "torch":
        import tiny_torch

        return tiny_torch.checkpoint(precision)
    if kind == "tflite":
        body = tiny_models.tflite(precision)
    elif kind == "onnx":
        body = tiny_models.onnx_model(precision)
    else:
        body, weights = tiny_models.openvino(precision)
    data = artifact.seal(kind, body, weights, tiny_models.manifest(kind, precision))
    return data if weights is None else (data, weights)


def _named_by(text: str) -> tuple[Case, ...]:
    """Cases of a backend that another package brings: ``name:kind:precision:tolerance,…``."""
    fields = (entry.strip().split(":") for entry in text.split(",") if entry.strip())
    return tuple(
        Case(name, kind, precision, float(tolerance), foreign=True)
        for name, kind, precision, tolerance in fields
    )


#: int8 logits lie on a grid of 0.03; the grids before it add about as much again.
_INT8 = 2.5 * tiny_models.LOGITS.scale
CASES = (
    Case("litert", "tflite", "float32", 1e-5),
    Case("litert", "tflite", "int8", _INT8),
    Case("openvino", "openvino", "float32", 1e-5),
    Case("openvino", "openvino", "int8", _INT8),
    Case("openvino", "onnx", "float32", 1e-5),
    Case("onnxruntime", "onnx", "float32", 1e-5),
    Case("onnxruntime", "onnx", "int8", _INT8),
    Case("null", "tflite", "int8", None),
    *(
        (Case("torch", "torch", "float32", 1e-5), Case("torch", "torch", "int8", _INT8))
        if find_spec("torch")
        else ()
    ),
    *_named_by(os.environ.get("EDGECV_CASES", "")),
)
