"""``http://….mjpg``: a stream of JPEG files over HTTP, as most network cameras give one. Needs no OpenCV."""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
from typing import ClassVar
from urllib.parse import unquote, urlsplit

from edgecv.camera.frame import Shot
from edgecv.camera.sources.base import Source, SourceError
from edgecv.camera.sources.jpegs import JpegSplitter
from edgecv.camera.sources.uri import SourceURI, redacted
from edgecv.errors import InputError
from edgecv.preprocess import load_rgb

__all__ = ["HttpSource"]


class HttpSource(Source):
    """A multipart stream of JPEG files. A user and a password may stand in the URI; they are not shown.

    Args:
        uri: The URI.
        labels: Not used: nobody knows what such a camera sees.
    """

    live: ClassVar[bool] = True

    def __init__(self, uri: SourceURI, labels: tuple[str, ...] = ()) -> None:
        self._parts = urlsplit(uri.place)
        if not self._parts.hostname:
            raise InputError(
                f"{redacted(uri.place)!r} names no host", cure="For example http://camera/x.mjpg."
            )
        self.uri: str = redacted(uri.place)
        self._connection: http.client.HTTPConnection | None = None
        self._answer: http.client.HTTPResponse | None = None
        self._socket: socket.socket | None = None
        self._splitter = JpegSplitter()

    def open(self) -> None:
        """Connect, and look at what answers.

        Raises:
            SourceError: Nobody answers, or no stream of pictures.
        """
        self.close()
        parts = self._parts
        kind = (
            http.client.HTTPSConnection
            if parts.scheme.lower() == "https"
            else http.client.HTTPConnection
        )
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            self._connection = kind(parts.hostname or "", parts.port, timeout=self.stall_s)
            self._connection.connect()
            self._socket = self._connection.sock
            self._connection.request("GET", target, headers=self._headers())
            self._answer = self._connection.getresponse()
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise self._failed(str(error) or type(error).__name__) from error
        given = self._answer.headers.get_content_type()
        status = self._answer.status
        if status != 200 or given not in (
            "multipart/x-mixed-replace",
            "image/jpeg",
            "video/x-motion-jpeg",
        ):
            self.close()
            raise self._failed(
                f"it answers {status} with {given}, which is no stream of JPEG files"
            )
        self._splitter = JpegSplitter()

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "multipart/x-mixed-replace, image/jpeg", "User-Agent": "edgecv"}
        if self._parts.username is not None:
            pair = f"{unquote(self._parts.username)}:{unquote(self._parts.password or '')}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        return headers

    def _failed(self, why: str) -> SourceError:
        return SourceError(
            f"the source {self.uri} cannot be read: {why}",
            cure="Check the address in a browser; it has to be the stream itself.",
        )

    def grab(self) -> bytes:
        """The next JPEG file.

        Raises:
            SourceError: The connection ended, or nothing came for a while.
        """
        while (picture := self._splitter.take()) is None:
            if self._answer is None:
                raise self._failed("it is not open")
            try:
                data = self._answer.read1(1 << 16)
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise self._failed(str(error) or type(error).__name__) from error
            if not data:
                raise self._failed("the stream has ended")
            self._splitter.feed(data)
        return picture

    def decode(self, raw: bytes) -> Shot:
        """Decode it.

        Raises:
            InputError: It is damaged.
        """
        return Shot(load_rgb(raw))

    def interrupt(self) -> None:
        """Cut the connection."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the connection back."""
        if self._answer is not None:
            self._answer.close()
        if self._connection is not None:
            self._connection.close()
        self._answer = self._connection = self._socket = None
