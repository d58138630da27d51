"""PyTorch as an engine: the trained model itself, the reference that the others are compared with.

Registered like anybody's backend, through the entry-point group ``edgecv.backends``; nothing on the
device side imports it.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar, Final, Self

import numpy as np
import torch
from torch import nn
from torch.fx import GraphModule

from edgecv.artifact import ModelFile
from edgecv.quantize.checkpoint import read_checkpoint
from edgecv.quantize.naming import canonical
from edgecv.quantize.reference import as_exported
from edgecv.spec.types import TensorSpec
from edgecv_runtimes.base import (
    Array,
    ExecutedLayer,
    engine_failed,
    only_f32,
    summarize_precision,
)

__all__ = ["TorchBackend"]

#: torch's number of threads belongs to the process, so calls of all models take turns.
_TURN: Final = threading.Lock()
_LAYERS: Final = ("conv", "linear", "matmul")
#: The grid that a file can hold; a coarser one runs as it was trained.
_EXPORTED_BITS: Final = 8


class TorchBackend:
    """Checkpoints of ``edgecv train``: ``float.safetensors`` and ``qat.safetensors`` of a run.

    A float model runs as it was trained, in float32. A quantization-aware one of 8 bits runs as the
    exported file says (:func:`~edgecv.quantize.as_exported`): its integers, biases included, with
    sums exact in float64. One of fewer bits, which no file can hold, runs with its fake quantizers.

    It is made to be right, not fast. ``threads`` is what torch uses within a call: the number belongs
    to the process, so it is set for each call and put back, calls of all models take turns, and
    other work of the process with torch at that moment sees it too.
    """

    name: ClassVar[str] = "torch"
    kinds: ClassVar[tuple[str, ...]] = ("torch",)

    def __init__(self, model: ModelFile, *, threads: int, float_precision: str = "f32") -> None:
        only_f32("the torch reference", float_precision)
        module, architecture = read_checkpoint(model.body)
        self._simulated = architecture.bits is not None
        if isinstance(module, GraphModule):
            self._layers = _quantized_layers(module, architecture.bits)
            if architecture.bits == _EXPORTED_BITS:
                module = as_exported(module, input_size=architecture.size)
        else:
            self._layers = _float_layers(module)
        self._module: nn.Module = module.eval().requires_grad_(False)
        # the exact reference computes in float64
        self._dtype = next(self._module.parameters()).dtype
        self._threads = threads
        self.inputs: tuple[TensorSpec, ...] = architecture.inputs
        self.outputs: tuple[TensorSpec, ...] = architecture.outputs

    @classmethod
    def version(cls) -> str:
        """Version of the package."""
        return str(torch.__version__)

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the model once; see :class:`~edgecv_runtimes.base.Backend`."""
        # a copy: torch takes neither negative strides nor memory that it must not write to
        pictures = torch.from_numpy(np.array(feeds["input"], order="C"))
        try:
            with _TURN, _using(self._threads), torch.inference_mode():
                logits: Array = self._module(pictures.to(self._dtype)).float().numpy()
        except RuntimeError as error:
            raise engine_failed("PyTorch", error) from error
        return {"logits": logits}

    def executed_precision(self) -> str:
        """What the layers multiply; integers are simulated, each as the float that equals it."""
        said = summarize_precision(self._layers)
        return f"{said}, simulated in float" if self._simulated else said

    def executed_layers(self) -> tuple[ExecutedLayer, ...]:
        """Convolutions and linear layers, and the products of a quantized model."""
        return self._layers

    def clone(self) -> Self:
        """The same module: it holds weights and no buffers of a call."""
        return copy.copy(self)

    def close(self) -> None:
        """Let the module go."""
        del self._module


@contextmanager
def _using(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    if threads == before:
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _quantized_layers(module: GraphModule, bits: int | None) -> tuple[ExecutedLayer, ...]:
    found = (canonical(node) for node in module.graph.nodes)
    return tuple(
        ExecutedLayer(what.name, what.kind, f"int{bits}")
        for what in found
        if what is not None and what.kind in _LAYERS
    )


def _float_layers(module: nn.Module) -> tuple[ExecutedLayer, ...]:
    kinds = {nn.Conv2d: "conv", nn.Linear: "linear"}
    return tuple(
        ExecutedLayer(name, kind, "float32")
        for name, one in module.named_modules()
        for cls, kind in kinds.items()
        if isinstance(one, cls)
    )
