"""What faults in front of the model do to its answers, so that none is taken for quantization loss.

Each check changes one thing that device apps get wrong, and evaluates on the same pictures. A change that makes
the answers *better* says that the preprocessing in force is the wrong one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgecv.artifact.manifest import Preprocess
from edgecv.data.model import Item
from edgecv.errors import InputError
from edgecv.evaluate.compare import PairedComparison, compare
from edgecv.evaluate.evaluation import Evaluation
from edgecv.evaluate.pixels import PixelCache, PixelSource
from edgecv.evaluate.run import Model, evaluate
from edgecv.preprocess import load_rgb, prepare
from edgecv.stats.holm import holm

__all__ = ["PipelineCheck", "PipelineEffect", "check_pipeline", "checks_for", "differences"]

#: Of the JPEG files that the pictures are stored as once more; chroma at half resolution, as phones write them.
JPEG_QUALITY = 75
#: A finding's corrected p-value is below.
LEVEL = 0.05


@dataclass(frozen=True)
class PipelineCheck:
    """One change of what is in front of the model.

    Attributes:
        name: E.g. ``"channels swapped"``.
        change: What was changed into what.
        preprocess: In force then.
        reencode: JPEG quality that each picture is stored with first, or None.
    """

    name: str
    change: str
    preprocess: Preprocess
    reencode: int | None = None


@dataclass(frozen=True)
class PipelineEffect:
    """What a change did.

    Attributes:
        check: The change.
        pair: The model as it is (a) against itself after the change (b).
        p_holm: Exact McNemar, corrected for the number of changes of this model (Holm 1979).
    """

    check: PipelineCheck
    pair: PairedComparison
    p_holm: float

    @property
    def better(self) -> bool:
        """Whether the answers got better beyond chance: the preprocessing in force is wrong."""
        return self.p_holm < LEVEL and self.pair.record.difference.value > 0

    def to_json(self) -> dict[str, Any]:
        """Plain data; rates as fractions."""
        d = self.pair.record.difference
        return {
            "check": self.check.name,
            "change": self.check.change,
            "model": self.pair.a,
            "pictures": self.pair.record.n,
            "top1_difference": {"value": d.value, "low": d.low, "high": d.high},
            "agreement": self.pair.record.agreement.value,
            "mcnemar_p": self.pair.record.mcnemar_p,
            "p_holm": self.p_holm,
            "better": self.better,
        }


def differences(a: Preprocess, b: Preprocess) -> tuple[str, ...]:
    """Where two preprocessings differ, one phrase each.

    ``mean`` and ``std`` are left out: they may be folded into one of the models.

    >>> differences(Preprocess((32, 32)), Preprocess((32, 32), color="bgr"))
    ("color: 'rgb' and 'bgr'",)
    """
    return tuple(
        f"{field.name}: {getattr(a, field.name)!r} and {getattr(b, field.name)!r}"
        for field in fields(Preprocess)
        if field.name not in ("mean", "std") and getattr(a, field.name) != getattr(b, field.name)
    )


def checks_for(own: Preprocess) -> tuple[PipelineCheck, ...]:
    """The changes that mean something for a model with this preprocessing."""

    def check(name: str, key: str, value: Any) -> PipelineCheck:
        said = getattr(own, key)
        return PipelineCheck(name, f"{key} {said} → {value}", replace(own, **{key: value}))

    kernels = [k for k in ("bicubic", "bilinear", "nearest") if k != own.interpolation]
    return (
        check("channels swapped", "color", "bgr" if own.color == "rgb" else "rgb"),
        *(check(f"resized {kernel}", "interpolation", kernel) for kernel in kernels),
        check("other crop", "crop_fraction", 0.875 if own.crop_fraction == 1.0 else 1.0),
        check("other shape", "resize", "stretch" if own.resize == "shortest" else "shortest"),
        PipelineCheck(
            "stored as JPEG",
            f"every picture saved at quality {JPEG_QUALITY} first",
            own,
            JPEG_QUALITY,
        ),
    )


def check_pipeline(
    model: Model,
    plain: Evaluation,
    items: Sequence[Item],
    *,
    cache: PixelSource | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[PipelineEffect]:
    """Evaluate a model again under each change.

    Args:
        model: A runtime.
        plain: Its evaluation as it is, on *items*.
        items: The pictures.
        cache: Prepared pixels shared with other models.
        progress: Called with the name of each check as it starts.

    Raises:
        EdgecvError: As :func:`edgecv.evaluate.evaluate`.
    """
    own = model.info.preprocess
    if own is None:
        raise InputError(
            "the model does not say how pictures are prepared", cure="Add --preprocess."
        )
    pixels = cache if cache is not None else PixelCache()
    pairs = []
    checks = checks_for(own)
    for check in checks:
        if progress:
            progress(check.name)
        changed = evaluate(
            model,
            items,
            plain.classes,
            name=f"{plain.name}, {check.name}",
            cache=pixels if check.reencode is None else _Reencoded(check.reencode),
            preprocess=check.preprocess,
        )
        pairs.append(compare(plain, changed))
    corrected = holm([pair.record.mcnemar_p for pair in pairs])
    return [
        PipelineEffect(check, pair, p)
        for check, pair, p in zip(checks, pairs, corrected, strict=True)
    ]


class _Reencoded:
    """Pictures stored as JPEG before they are prepared."""

    def __init__(self, quality: int) -> None:
        self._quality = quality

    def get(self, path: Path, preprocess: Preprocess) -> npt.NDArray[np.uint8]:
        """See :class:`PixelSource`."""
        stored = BytesIO()
        Image.fromarray(load_rgb(path)).save(stored, "JPEG", quality=self._quality, subsampling=2)
        return prepare(stored.getvalue(), preprocess)
