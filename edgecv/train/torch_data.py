"""Pictures as uint8 tensors: decoded once when they fit, else batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from edgecv.artifact.manifest import Preprocess
from edgecv.data import Item
from edgecv.data.decode import in_threads
from edgecv.preprocess import apply, load_rgb

__all__ = ["Pictures", "to_float"]

#: Decoded pictures are kept in memory up to this many bytes per split.
MEMORY_LIMIT_BYTES = 3 * 2**30
#: The light augmentation crops its input out of a picture this much larger.
_LARGER = 8 / 7

Progress = Callable[[int, int], None]


def to_float(pictures: Tensor) -> Tensor:
    """uint8 [N, 3, H, W] to float32 in [0, 1], exactly as every runtime sees them."""
    return pictures.float().div_(255)


@dataclass(frozen=True)
class _Geometry:
    """What is decoded (maybe larger than the model's input) and what the model gets."""

    decoded: Preprocess
    size: tuple[int, int]


class Pictures:
    """The pictures of one split.

    Args:
        items: Pictures and labels.
        preprocess: Of the model.
        augment: ``"none"`` or ``"light"``; only :meth:`batches` with a generator augments.
        progress: Called with (done, total) while decoding.
        limit_bytes: Decoded pictures beyond this are not kept.
    """

    def __init__(
        self,
        items: Sequence[Item],
        preprocess: Preprocess,
        *,
        augment: str = "none",
        progress: Progress | None = None,
        limit_bytes: int = MEMORY_LIMIT_BYTES,
    ) -> None:
        self._items = list(items)
        self._augment = augment == "light"
        self._geometry = _geometry(preprocess, self._augment)
        self.labels: Tensor = torch.tensor([item.label for item in items], dtype=torch.long)
        height, width = self._geometry.decoded.size
        fits = len(items) * height * width * 3 <= limit_bytes
        self._kept = self._decode(range(len(items)), progress) if fits else None

    def __len__(self) -> int:
        return len(self._items)

    def batches(
        self, size: int, generator: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of (uint8 [N, 3, H, W], labels [N]).

        Args:
            size: Pictures per batch.
            generator: Shuffles and augments, and drops a last incomplete batch (BatchNorm needs
                more than one picture); without it the order is that of the items and all come.
        """
        count = len(self)
        order = torch.randperm(count, generator=generator) if generator else torch.arange(count)
        # a training step never sees a shorter batch, unless there is only one
        usable = count - count % size if generator and count >= size else count
        for start in range(0, usable, size):
            index = order[start : min(start + size, usable)]
            pictures = (
                self._kept[index] if self._kept is not None else self._decode(index.tolist(), None)
            )
            yield self._cut(pictures, generator), self.labels[index]

    def _decode(self, indexes: Sequence[int], progress: Progress | None) -> Tensor:
        def one(index: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
            return apply(load_rgb(self._items[index].path), self._geometry.decoded)

        height, width = self._geometry.decoded.size
        pixels = np.empty((len(indexes), 3, height, width), np.uint8)
        for row, picture in enumerate(in_threads(one, indexes, progress)):
            pixels[row] = picture.transpose(2, 0, 1)
        return torch.from_numpy(pixels)

    def _cut(self, pictures: Tensor, generator: torch.Generator | None) -> Tensor:
        height, width = self._geometry.size
        spare_rows, spare_columns = pictures.shape[2] - height, pictures.shape[3] - width
        if not self._augment:
            return pictures
        if generator is None:
            top, left = spare_rows // 2, spare_columns // 2
            return pictures[:, :, top : top + height, left : left + width]
        count = len(pictures)
        tops = torch.randint(spare_rows + 1, (count,), generator=generator).tolist()
        lefts = torch.randint(spare_columns + 1, (count,), generator=generator).tolist()
        flips = torch.rand(count, generator=generator) < 0.5
        cut = torch.stack(
            [
                p[:, t : t + height, c : c + width]
                for p, t, c in zip(pictures, tops, lefts, strict=True)
            ]
        )
        cut[flips] = cut[flips].flip(3)
        return cut


def _geometry(preprocess: Preprocess, augment: bool) -> _Geometry:
    if not augment:
        return _Geometry(preprocess, preprocess.size)
    height, width = preprocess.size
    larger = (round(height * _LARGER), round(width * _LARGER))
    # the same resize as in evaluation, but less is cut away
    fraction = min(1.0, preprocess.crop_fraction * _LARGER)
    return _Geometry(replace(preprocess, size=larger, crop_fraction=fraction), preprocess.size)
