"""The recipe of a run: everything that decides its result, besides the pictures."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from edgecv.artifact import write_atomically
from edgecv.artifact.manifest import Preprocess
from edgecv.errors import InputError

__all__ = ["AUGMENTATIONS", "Recipe"]

AUGMENTATIONS = ("none", "light")
_SCHEMA = "1.0"


@dataclass(frozen=True)
class Recipe:
    """How a run is trained.

    Attributes:
        model: timm name, or ``resnet10_micro``.
        size: Model input (height, width) in pixels; None for the model's published one.
        resize: ``"shortest"`` or ``"stretch"``, see :class:`~edgecv.artifact.manifest.Preprocess`.
        crop_fraction: In (0, 1]; part of the resized picture that evaluation sees.
        normalize: ``"fold"`` or ``"op"``: where mean and std go.
        weights: State dict to start from, or None for random weights.
        epochs: Float epochs.
        qat_epochs: Quantization-aware epochs, started from the best float epoch; 0 for none.
        batch_size: Pictures per step.
        lr: Peak learning rate of the float phase (AdamW, one cycle).
        qat_lr: Peak learning rate of the quantization-aware phase (AdamW, cosine).
        weight_decay: Decoupled, both phases.
        label_smoothing: In [0, 1), both phases.
        augment: ``"none"``, or ``"light"``: random crop out of 8/7 of the size, horizontal flip.
        bits: Grid of weights and activations in the quantization-aware phase, 2 to 8.
        freeze_after: Fraction of the quantization-aware steps after which ranges and BatchNorm
            statistics stay as they are.
        calibration_pictures: Training pictures that set the ranges before the first step.
        seed: Of weights, order and augmentation.
        threads: Of torch; 0 leaves torch's own choice.
    """

    model: str
    size: tuple[int, int] | None = None
    resize: str = "shortest"
    crop_fraction: float = 1.0
    normalize: str = "fold"
    weights: str | None = None
    epochs: int = 12
    qat_epochs: int = 3
    batch_size: int = 64
    lr: float = 4e-3
    qat_lr: float = 2e-4
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    augment: str = "light"
    bits: int = 8
    freeze_after: float = 0.5
    calibration_pictures: int = 512
    seed: int = 0
    threads: int = 0

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise InputError(
                    f"recipe: {name} is {value}", cure=f"Use a number from {low:g} to {high:g}."
                )
        for name, known in _CHOICES:
            if getattr(self, name) not in known:
                raise InputError(
                    f"recipe: {name} is {getattr(self, name)!r}", cure=f"Use {' or '.join(known)}."
                )

    def preprocess(self, created: Preprocess) -> Preprocess:
        """The model's own preprocessing with this recipe's size and crop."""
        return dataclasses.replace(
            created,
            size=self.size or created.size,
            resize=self.resize,
            crop_fraction=self.crop_fraction,
        )

    def save(self, path: Path) -> None:
        """Write YAML, atomically."""
        record = {"schema": _SCHEMA, **dataclasses.asdict(self)}
        record["size"] = list(self.size) if self.size else None
        write_atomically(path, yaml.safe_dump(record, sort_keys=False).encode())

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: The file is missing, is no YAML mapping, or has unknown or bad values.
        """
        try:
            record: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(
                f"'{path}' cannot be read: {error.strerror}",
                cure="Name the folder that edgecv train made.",
            ) from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"'{path}' is no YAML: {error}", cure="Restore the file.") from error
        if not isinstance(record, dict) or record.pop("schema", None) != _SCHEMA:
            raise InputError(f"'{path}' is no recipe of schema {_SCHEMA}", cure="Train again.")
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(record) - known):
            raise InputError(f"'{path}': unknown key {unknown[0]!r}", cure="Remove it.")
        if record.get("size"):
            record["size"] = tuple(record["size"])
        try:
            return cls(**record)
        except TypeError as error:
            raise InputError(f"'{path}': {error}", cure="Restore the file.") from error


_RANGES = (
    ("crop_fraction", 0.01, 1),
    ("epochs", 0, 10_000),
    ("qat_epochs", 0, 10_000),
    ("batch_size", 2, 4096),
    ("lr", 1e-8, 10),
    ("qat_lr", 1e-8, 10),
    ("weight_decay", 0, 1),
    ("label_smoothing", 0, 0.9),
    ("bits", 2, 8),
    ("freeze_after", 0, 1),
    ("calibration_pictures", 1, 1_000_000),
    ("seed", 0, 2**31),
    ("threads", 0, 1024),
)
_CHOICES = (
    ("augment", AUGMENTATIONS),
    ("resize", ("shortest", "stretch")),
    ("normalize", ("fold", "op")),
)
