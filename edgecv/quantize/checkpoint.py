"""The checkpoint of a training run: weights that say which model they belong to.

A safetensors file (so that reading one cannot run code) whose ``__metadata__`` holds, beside the
manifest, the arguments that make the model again. ``edgecv export --weights``, timm and every other
reader of safetensors see the weights alone.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn

from edgecv.artifact import write_atomically
from edgecv.artifact.file import seal
from edgecv.artifact.manifest import Manifest, QuantizerRecord
from edgecv.errors import EdgecvError, ModelLoadError, require
from edgecv.models import create, load_into
from edgecv.quantize.qat import prepare_qat, quantizers_of
from edgecv.spec import TensorSpec

__all__ = ["Architecture", "read_checkpoint", "write_checkpoint"]

#: Key of ``__metadata__`` that holds an :class:`Architecture` as JSON.
KEY: Final = "edgecv.model"
_TOOLS: Final = ("edgecv", "torch", "timm")
_NO_CHECKPOINT: Final = (
    "Give a checkpoint that edgecv train made, or make a model of the weights with: edgecv export"
    " --model NAME --weights FILE --calibrate DIR --out RUN"
)


@dataclass(frozen=True)
class Architecture:
    """Arguments of :func:`edgecv.models.create` and :func:`~edgecv.quantize.prepare_qat`.

    Attributes:
        model: A name that ``create`` knows.
        num_classes: Outputs.
        size: Input (height, width) in pixels.
        normalize: ``"fold"`` or ``"op"``.
        bits: Grid of the fake quantizers, or None for a float model.
    """

    model: str
    num_classes: int
    size: tuple[int, int]
    normalize: str = "fold"
    bits: int | None = None

    def check(self) -> None:
        """Raise a TypeError unless every number is a positive integer and every text a text."""
        numbers = (self.num_classes, *self.size, 8 if self.bits is None else self.bits)
        if not all(type(n) is int and 1 <= n < 2**16 for n in numbers):
            raise TypeError("not a number in range")
        if not (isinstance(self.model, str) and isinstance(self.normalize, str)):
            raise TypeError("not a text")

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The picture: float32 [1, 3, H, W] in [0, 1]."""
        return (TensorSpec("input", (1, 3, *self.size), "float32", "NCHW"),)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Logits: float32 [1, classes]."""
        return (TensorSpec("logits", (1, self.num_classes), "float32", "NC"),)

    def build(self) -> nn.Module:
        """The model with random weights, in evaluation mode.

        Raises:
            EdgecvError: No such model, or arguments out of range.
        """
        made = create(
            self.model, num_classes=self.num_classes, size=self.size, normalize=self.normalize
        )
        module = made.module.eval()
        if self.bits is None:
            return module
        return prepare_qat(module, input_size=self.size, bits=self.bits, dropout=False)


def write_checkpoint(
    module: nn.Module, path: Path, architecture: Architecture, about: Manifest
) -> Manifest:
    """Write the weights of *module* with what they are, atomically.

    Args:
        module: A float model, or what :func:`~edgecv.quantize.prepare_qat` returned, with ranges.
        path: Replaced when it exists.
        architecture: Makes the same model again.
        about: Labels, preprocessing, training data; the rest is filled in.

    Returns:
        The manifest but for its identity, as it stands in the file.
    """
    from safetensors.torch import save

    manifest = replace(
        about,
        inputs=architecture.inputs,
        outputs=architecture.outputs,
        precision="float32" if architecture.bits is None else "int8",
        quantizers=() if architecture.bits is None else _records(module),
        tools={name: version(name) for name in _TOOLS},
    )
    state = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
    body = save(state, metadata={KEY: json.dumps(asdict(architecture), sort_keys=True)})
    write_atomically(path, seal("torch", body, None, manifest))
    return manifest


def read_checkpoint(body: bytes) -> tuple[nn.Module, Architecture]:
    """The model of a checkpoint, in evaluation mode.

    Args:
        body: The file, with or without its manifest.

    Raises:
        ModelLoadError: Damaged, weights that do not fit, or a file of weights that says nothing of
            their model.
        MissingExtraError: safetensors or timm is not installed.
    """
    require("safetensors", "timm", extra="train")
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        state: dict[str, Tensor] = load(body)
    except SafetensorError as error:
        raise ModelLoadError(
            f"it is no whole safetensors file ({error})", cure="Copy the file again."
        ) from error
    architecture = _architecture(body)
    try:
        module = architecture.build()
        load_into(module, state, "the checkpoint")
    except EdgecvError as error:
        raise ModelLoadError(
            f"its weights are not those of the model {architecture.model!r}: {error.what}",
            cure=error.cure,
        ) from error
    return module.eval(), architecture


def _architecture(body: bytes) -> Architecture:
    """What a file that the library has read says of its model."""
    size = int.from_bytes(body[:8], "little")
    said = json.loads(body[8 : 8 + size]).get("__metadata__", {}).get(KEY)
    if said is None:
        raise ModelLoadError(
            "it holds weights and does not say of which model", cure=_NO_CHECKPOINT
        )
    try:
        values: Any = json.loads(said)
        height, width = values.pop("size")
        found = Architecture(size=(height, width), **values)
        found.check()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelLoadError(
            f"what it says of its model is damaged: {said[:80]}", cure=_NO_CHECKPOINT
        ) from error
    return found


def _records(module: nn.Module) -> tuple[QuantizerRecord, ...]:
    params = {name: one.params() for name, one in quantizers_of(module).activations().items()}
    return tuple(QuantizerRecord(name, p.scale, p.zero_point) for name, p in params.items())
