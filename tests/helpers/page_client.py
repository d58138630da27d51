"""A running page, and clients that speak to it by hand."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from camera_parts import shipped_runtime

from edgecv.camera import Pipeline, open_source
from edgecv.camera.web import Page, serve
from edgecv.camera.web.bounded import Limits


@contextlib.contextmanager
def running(
    source: str = "synth:?rate=40", token: str | None = None, **limits: Any
) -> Iterator[tuple[Page, Pipeline]]:
    """A pipeline in a thread of its own, and its page on a free port."""
    with shipped_runtime() as runtime:
        pipeline = Pipeline(open_source(source, runtime.info.labels), runtime)
        with serve(pipeline, port=0, token=token, limits=Limits(**limits)) as page:
            pipeline.add(page)
            thread = threading.Thread(target=pipeline.run, daemon=True)
            thread.start()
            try:
                wait(lambda: pipeline.last is not None)
                yield page, pipeline
            finally:
                pipeline.stop()
                thread.join(10)
                assert not thread.is_alive()


def wait(condition: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def get(page: Page, path: str, method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
    try:
        connection.request(
            method, path, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def raw(page: Page, data: bytes, seconds: float = 5.0) -> bytes:
    """What the server says to bytes, until it closes."""
    with socket.create_connection(("127.0.0.1", page.port), timeout=seconds) as client:
        client.sendall(data)
        said = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := client.recv(65536):
                said += chunk
        return said


def jpegs(data: bytes) -> list[bytes]:
    return [
        part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
        for part in data.split(b"--edgecv-frame")[1:-1]
    ]


def stream(page: Page, count: int, slow: float = 0.0) -> list[bytes]:
    """So many pictures of the MJPEG stream."""
    with socket.create_connection(("127.0.0.1", page.port), timeout=10) as client:
        client.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        data = b""
        while data.count(b"--edgecv-frame") <= count:
            chunk = client.recv(1 << 16)
            assert chunk
            # chunked encoding: sizes stand between CRLFs of their own
            data += chunk
            time.sleep(slow)
    body = data.partition(b"\r\n\r\n")[2]
    plain = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        plain, body = plain + body[:length], body[length + 2 :]
    return jpegs(plain)[:count]
