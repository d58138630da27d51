"""``dir:pictures/``: every picture of a folder, with the folder's name as label."""

from __future__ import annotations

from pathlib import Path

from edgecv.camera.frame import Shot
from edgecv.camera.sources.base import Source
from edgecv.camera.sources.uri import SourceURI
from edgecv.data import find_pictures
from edgecv.preprocess import load_rgb

__all__ = ["FolderSource"]


class FolderSource(Source):
    """Pictures below a folder in the order of their names; nothing is dropped.

    Where a picture lies in a folder named after one of *labels* (underscores stand for spaces), that
    is what it shows.

    Args:
        uri: Option ``rate``: pictures per second, 0 as fast as they are answered.
        labels: Classes of the model.
    """

    def __init__(self, uri: SourceURI, labels: tuple[str, ...] = ()) -> None:
        uri.refuse_unknown("rate")
        self.uri: str = f"dir:{uri.place}"
        self.rate_hz: float = uri.number("rate", 0, 0, 1000)
        self._folder = Path(uri.place or ".")
        self._labels = {_plain(label): label for label in labels}
        self._paths: tuple[Path, ...] = ()
        self._next = 0

    def open(self) -> None:
        """List the pictures.

        Raises:
            InputError: No such folder, or no picture in it.
        """
        self._paths, self._next = find_pictures(self._folder), 0

    def grab(self) -> tuple[int, Path] | None:
        """The next file."""
        if self._next >= len(self._paths):
            return None
        self._next += 1
        return self._next - 1, self._paths[self._next - 1]

    def decode(self, raw: tuple[int, Path]) -> Shot:
        """Read it.

        Raises:
            InputError: It is no picture.
        """
        number, path = raw
        label = self._labels.get(_plain(path.parent.name))
        return Shot(load_rgb(path), label, number, path.name)


def _plain(name: str) -> str:
    return name.split(",")[0].strip().lower().replace("_", " ")
