"""Reading a source's URI: which source, which place, which options."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

from edgecv.errors import InputError

__all__ = ["SCHEMES", "SourceURI", "parse_frame_size", "parse_uri", "redacted"]

#: Scheme → example, in the order of the documentation.
SCHEMES: Final = {
    "usb": "usb:0",
    "v4l2": "v4l2:/dev/video0",
    "picam": "picam:0",
    "rtsp": "rtsp://camera.local/stream",
    "rtsps": "rtsps://camera.local/stream",
    "http": "http://camera.local/stream.mjpg",
    "https": "https://camera.local/stream.mjpg",
    "file": "file:video.mp4",
    "dir": "dir:pictures/",
    "synth": "synth:",
}
_NETWORK: Final = ("rtsp", "rtsps", "http", "https")


@dataclass(frozen=True)
class SourceURI:
    """The parts of a URI.

    Attributes:
        scheme: One of :data:`SCHEMES`.
        place: Number, path, or for a network source the whole URI.
        options: Of the source; network sources keep their own query.
    """

    scheme: str
    place: str
    options: dict[str, str]

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """A numeric option.

        Raises:
            InputError: No number, or out of range.
        """
        text = self.options.get(name)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise InputError(
                f"{name}={text} of the source '{self.scheme}:' is no number from {low:g} to {high:g}",
                cure=f"Leave it out for {default:g}.",
            )
        return value

    def refuse_unknown(self, *known: str) -> None:
        """Raise for an option that the source does not have."""
        for name in self.options:
            if name not in known:
                raise InputError(
                    f"the source '{self.scheme}:' has no option {name!r}",
                    cure=f"Its options: {', '.join(sorted(known)) or 'none'}.",
                )


def parse_uri(text: str) -> SourceURI:
    """Take a URI apart.

    Raises:
        InputError: An unknown scheme, or an option twice.

    >>> parse_uri("synth:?rate=0&dark=10-20").options
    {'rate': '0', 'dark': '10-20'}
    >>> parse_uri("usb:0").place, parse_uri("rtsp://a/b?c=d").place
    ('0', 'rtsp://a/b?c=d')
    """
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    if not colon or scheme not in SCHEMES:
        known = ", ".join(SCHEMES.values())
        hint = ""
        if Path(text).is_dir():
            hint = f"For the folder: dir:{text}. "
        elif Path(text).is_file():
            hint = f"For the video: file:{text}. "
        raise InputError(f"{text!r} names no source", cure=f"{hint}Sources: {known}.")
    if scheme in _NETWORK:
        return SourceURI(scheme, text, {})
    place, question, query = rest.rpartition("?")
    if not question or (scheme in ("file", "dir") and Path(rest).exists()):
        place, query = rest, ""
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in options:
            raise InputError(f"{text!r} gives {name!r} twice", cure="Give it once.")
        options[name] = value
    return SourceURI(scheme, place, options)


def parse_frame_size(text: str) -> tuple[int, int]:
    """``"640x480"`` to (width, height).

    Raises:
        InputError: No size.
    """
    found = re.fullmatch(r"(\d{2,4})x(\d{2,4})", text)
    if found is None:
        raise InputError(f"size={text} is no size of a frame", cure="For example size=640x480.")
    return int(found[1]), int(found[2])


def redacted(uri: str) -> str:
    """The URI without a password.

    >>> redacted("rtsp://me:secret@host/x?token=5")
    'rtsp://***@host/x?***'
    """
    if uri.partition(":")[0].lower() not in _NETWORK:
        return uri
    uri = re.sub(r"(?<=://)[^/@]*@", "***@", uri)
    return re.sub(r"\?.*", "?***", uri)
