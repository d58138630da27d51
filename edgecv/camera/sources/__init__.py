"""Sources of frames by URI.

>>> source = open_source("synth:?rate=0", labels=())
>>> source.open()
>>> source.decode(source.grab()).pixels.shape
(45, 54, 3)
"""

from __future__ import annotations

import importlib
from typing import Final, cast

from edgecv.camera.sources.base import Source, SourceError
from edgecv.camera.sources.uri import SCHEMES, SourceURI, parse_uri, redacted

__all__ = ["SCHEMES", "Source", "SourceError", "SourceURI", "open_source", "parse_uri", "redacted"]

#: Scheme → module and class; a module imports what it needs when a source is opened.
_HOMES: Final = {
    "usb": "opencv:UsbSource",
    "v4l2": "opencv:UsbSource",
    "rtsp": "opencv:NetworkSource",
    "rtsps": "opencv:NetworkSource",
    "file": "opencv:VideoSource",
    "picam": "picam:PicamSource",
    "http": "mjpeg:HttpSource",
    "https": "mjpeg:HttpSource",
    "dir": "folder:FolderSource",
    "synth": "synth:SynthSource",
}


def open_source(uri: str, labels: tuple[str, ...] = ()) -> Source:
    """The source that a URI names; :meth:`Source.open` has yet to be called.

    Args:
        uri: See :data:`SCHEMES` for an example of each.
        labels: Classes of the model, for sources that know what their frames show.

    Raises:
        InputError: An unknown scheme or option.
        MissingExtraError: The source needs a package that is not installed.
    """
    parts = parse_uri(uri)
    module, _, name = _HOMES[parts.scheme].partition(":")
    kind = getattr(importlib.import_module(f"edgecv.camera.sources.{module}"), name)
    return cast("Source", kind(parts, labels))
