"""Small servers of pictures: MJPEG over HTTP, and RTSP with JPEG in RTP (RFC 2326, RFC 2435)."""

from __future__ import annotations

import contextlib
import io
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from camera_parts import Collect, shipped_runtime
from PIL import Image

from edgecv.camera import Pipeline

#: What a server sends next: bytes of a JPEG file; None ends the connection; a number waits.
Script = Callable[[], Iterator[bytes | float | None]]


def jpeg(value: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """A picture of one gray level, with 4:2:0 and the standard Huffman tables."""
    file = io.BytesIO()
    Image.fromarray(np.full((size[1], size[0], 3), value, np.uint8)).save(
        file, "jpeg", quality=80, subsampling=2
    )
    return file.getvalue()


def gray(pixels: np.ndarray) -> int:
    return round(float(pixels.mean()))


def grays(source: Any, count: int) -> list[int]:
    return [gray(source.decode(source.grab()).pixels) for _ in range(count)]


def run(source: Any, **limits: Any) -> tuple[dict[str, Any], list[int], Pipeline]:
    sink = Collect()
    with shipped_runtime() as runtime:
        pipeline = Pipeline(source, runtime, sinks=[sink])
        summary = pipeline.run(**limits)
    return summary, [gray(a.frame.shot.pixels) for a in sink.answers], pipeline


class Server:
    """Accepts one client after the other and serves each in a thread. A context manager."""

    def __init__(self, port: int = 0) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        self._clients: list[socket.socket] = []
        self.requests: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._clients.append(client)
                threading.Thread(target=self._guarded, args=(client,), daemon=True).start()

    def _guarded(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            self.serve(client)

    def serve(self, client: socket.socket) -> None:
        raise NotImplementedError

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for client in self._clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)


def head(client: socket.socket) -> str:
    """A request up to its empty line."""
    said = b""
    while b"\r\n\r\n" not in said:
        chunk = client.recv(4096)
        if not chunk:
            raise ConnectionResetError
        said += chunk
    return said.decode()


class MjpegServer(Server):
    """Parts with or without their length, as cameras differ."""

    def __init__(self, script: Script, *, lengths: bool = True, status: str = "200 OK",
                 kind: str = "multipart/x-mixed-replace; boundary=x") -> None:  # fmt: skip
        self._script, self._lengths, self._status, self._kind = script, lengths, status, kind
        super().__init__()

    def serve(self, client: socket.socket) -> None:
        self.requests.append(head(client))
        client.sendall(f"HTTP/1.1 {self._status}\r\nContent-Type: {self._kind}\r\n\r\n".encode())
        for item in self._script():
            if item is None:
                return
            if isinstance(item, float):
                time.sleep(item)
                continue
            length = f"Content-Length: {len(item)}\r\n" if self._lengths else ""
            client.sendall(
                f"--x\r\nContent-Type: image/jpeg\r\n{length}\r\n".encode() + item + b"\r\n"
            )


class RtspServer(Server):
    """One stream of JPEG files at 25 per second, interleaved in the connection."""

    def serve(self, client: socket.socket) -> None:
        while True:
            request = head(client)
            self.requests.append(request)
            method = request.split(" ", 1)[0]
            number = re.search(r"CSeq: *(\d+)", request)
            assert number is not None
            more, body = "", ""
            if method == "OPTIONS":
                more = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
            elif method == "DESCRIBE":
                body = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:one\r\n"
                more = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
            elif method == "SETUP":
                more = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
            elif method == "PLAY":
                more = "Session: 1\r\nRange: npt=0-\r\n"
            client.sendall(f"RTSP/1.0 200 OK\r\nCSeq: {number[1]}\r\n{more}\r\n{body}".encode())
            if method == "PLAY":
                threading.Thread(target=self._answer_on, args=(client,), daemon=True).start()
                self._play(client)
                return

    def _answer_on(self, client: socket.socket) -> None:
        """Swallow keep-alives and reports."""
        with contextlib.suppress(OSError):
            while client.recv(4096):
                pass

    def _play(self, client: socket.socket) -> None:
        count = 0
        for value in (value for _ in range(100) for value in range(20, 240, 20)):
            tables, scan = _parts(jpeg(value))
            offset = 0
            while offset < len(scan):
                piece = scan[offset : offset + 1200]
                last = offset + len(piece) >= len(scan)
                payload = struct.pack(
                    ">B3sBBBB", 0, offset.to_bytes(3, "big"), 1, 255, 64 // 8, 48 // 8
                )
                if offset == 0:
                    payload += struct.pack(">BBH", 0, 0, 128) + tables
                count += 1
                stamp = count * 3600 & 0xFFFFFFFF
                rtp = (
                    struct.pack(">BBHII", 0x80, 26 | 0x80 * last, count & 0xFFFF, stamp, 1)
                    + payload
                    + piece
                )
                client.sendall(b"$\0" + struct.pack(">H", len(rtp)) + rtp)
                offset += len(piece)
            time.sleep(0.04)


def _parts(data: bytes) -> tuple[bytes, bytes]:
    """Both quantization tables and the entropy-coded data of a JPEG file."""
    at, tables = 2, b""
    while True:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + length]
        if marker == 0xDB:
            for start in range(0, len(body), 65):
                tables += body[start + 1 : start + 65]
        if marker == 0xDA:
            return tables, data[at + 2 + length : data.rindex(b"\xff\xd9")]
        at += 2 + length
