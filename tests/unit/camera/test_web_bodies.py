"""Clients that announce a body and owe it: refused or answered, none may hold a connection."""

from __future__ import annotations

import contextlib
import http.client
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from label_parts import fill, labeling
from page_client import get, running, wait

from edgecv.camera.web.bounded import Limits
from edgecv.camera.web.guard import Bucket
from edgecv.camera.web.serving import Serving, claim

TOKEN = "a-secret-of-tests"


@contextlib.contextmanager
def either(kind: str, token: str | None, folder: Path, **limits: Any) -> Iterator[Any]:
    """The camera's page or the labels'."""
    if kind == "camera":
        with running("synth:?rate=5", token, **limits) as (page, _):
            yield page
    else:
        fill(folder / "audit")
        with labeling(folder / "audit", token, **limits) as page:
            yield page


def answered(page: Any, ask: str) -> tuple[socket.socket, bytes]:
    """A client that sent a head, and the first that it was told."""
    client = socket.create_connection(("127.0.0.1", page.port), timeout=5)
    client.sendall(ask.replace("{port}", str(page.port)).encode())
    return client, client.recv(65536)


def held_s(client: socket.socket, drop: bytes = b"", most_s: float = 8.0) -> float:
    """How long the server keeps a client that reads, and sends *drop* twenty times a second."""
    began = time.monotonic()
    client.settimeout(0.05)
    with client, contextlib.suppress(ConnectionError):
        while time.monotonic() - began < most_s:
            with contextlib.suppress(TimeoutError):
                if client.recv(65536) == b"":
                    break
                continue
            client.sendall(drop)
    return time.monotonic() - began


LENGTH = "Content-Length: 200\r\n"
CHUNKS = "Transfer-Encoding: chunked\r\n"
OWN = "Host: localhost:{port}\r\nOrigin: http://localhost:{port}\r\nContent-Type: application/json\r\n"
#: Page, its token, a head that announces a body, what it is told.
REFUSED = [
    ("camera", None, f"GET / HTTP/1.1\r\nHost: evil\r\n{LENGTH}\r\n", 421),
    ("camera", None, f"GET / HTTP/1.1\r\nHost: evil\r\n{CHUNKS}\r\n", 421),
    ("camera", None, f"GET / HTTP/1.1\r\n{OWN}{LENGTH}\r\n", 413),
    ("camera", None, f"POST / HTTP/1.1\r\n{OWN}{LENGTH}\r\n", 405),
    ("camera", TOKEN, f"GET / HTTP/1.1\r\nHost: evil\r\n{LENGTH}\r\n", 421),
    ("camera", TOKEN, f"GET / HTTP/1.1\r\n{OWN}{CHUNKS}\r\n", 413),
    ("camera", TOKEN, f"PUT / HTTP/1.1\r\n{OWN}{LENGTH}\r\n", 405),
    ("camera", TOKEN, f"GET / HTTP/1.1\r\n{OWN}\r\n", 401),
    ("labels", None, f"POST /api/label HTTP/1.1\r\nHost: evil\r\n{LENGTH}\r\n", 421),
    ("labels", None, f"PUT /api/label HTTP/1.1\r\n{OWN}{LENGTH}\r\n", 405),
    ("labels", None, f"POST /api/label HTTP/1.1\r\n{OWN}Content-Length: 257\r\n\r\n", 413),
    ("labels", None, f"POST /api/label HTTP/1.1\r\n{OWN}{CHUNKS}\r\n", 411),
    ("labels", TOKEN, f"POST /api/label HTTP/1.1\r\nHost: localhost\r\n{LENGTH}\r\n", 403),
    ("labels", TOKEN, f"POST /api/label HTTP/1.1\r\n{OWN}{LENGTH}\r\n", 401),
    ("labels", TOKEN, f"POST /api/label?token=wrong HTTP/1.1\r\n{OWN}{LENGTH}\r\n", 401),
    ("labels", TOKEN, f"POST /api/label?token={TOKEN} HTTP/1.1\r\n{OWN}{LENGTH}\r\n", 303),
]


class TestOwedBodies:
    """Who has its answer and still owes a body holds a connection; a hundred of them would hold all."""

    @pytest.mark.parametrize(
        ("kind", "token", "ask", "status"),
        REFUSED,
        ids=[f"{kind}-{status}-{n}" for n, (kind, _, _, status) in enumerate(REFUSED)],
    )
    def test_who_is_refused_is_let_go(
        self, kind: str, token: str | None, ask: str, status: int, tmp_path: Path
    ) -> None:
        with either(kind, token, tmp_path) as page:
            for drop in (b"", b"x"):
                client, said = answered(page, ask)
                assert said.startswith(f"HTTP/1.1 {status} ".encode()), said[:80]
                assert held_s(client, drop) < 2

    @pytest.mark.parametrize(
        ("kind", "token"), [("camera", None), ("camera", TOKEN), ("labels", None), ("labels", TOKEN)]
    )  # fmt: skip
    def test_who_asks_too_often_is_let_go(
        self, kind: str, token: str | None, tmp_path: Path
    ) -> None:
        with either(kind, token, tmp_path) as page:
            page._serving._guard._requests = Bucket(0, 0)
            for body in (LENGTH, CHUNKS):
                client, said = answered(page, f"POST /api/label HTTP/1.1\r\n{OWN}{body}\r\n")
                assert said.startswith(b"HTTP/1.1 429")
                assert held_s(client, b"1") < 2

    def test_who_guesses_too_often_is_let_go(self, tmp_path: Path) -> None:
        with either("labels", TOKEN, tmp_path) as page:
            page._serving._guard._guesses = Bucket(0, 0)
            ask = f"POST /api/label?token=guess HTTP/1.1\r\n{OWN}{LENGTH}\r\n"
            client, said = answered(page, ask)
            assert said.startswith(b"HTTP/1.1 429")
            assert held_s(client, b"x") < 2

    @pytest.mark.parametrize(
        ("kind", "token", "ask", "status"),
        [REFUSED[0], REFUSED[4], REFUSED[8], REFUSED[13]],
        ids=["camera", "camera-token", "labels", "labels-token"],
    )
    def test_a_hundred_of_them_lock_nobody_out(
        self, kind: str, token: str | None, ask: str, status: int, tmp_path: Path
    ) -> None:
        with either(kind, token, tmp_path) as page, contextlib.ExitStack() as stack:
            for _ in range(100):
                client, said = answered(page, ask)
                stack.enter_context(client)
                assert said.startswith(f"HTTP/1.1 {status} ".encode())
                with contextlib.suppress(ConnectionError):
                    client.sendall(b"x")
            wait(lambda: not page._serving._limits.open, 5)
            # the labels' page has no /healthz, and passes it without a token all the same
            assert get(page, "/healthz")[0] == (200 if kind == "camera" else 404)

    def test_whatever_gave_the_answer(self) -> None:
        async def careless(scope: Any, receive: Any, send: Any) -> None:
            headers = [(b"content-length", b"2")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"ok"})

        address, limits = claim("127.0.0.1", 0, None), Limits(head_s=0.5)
        app: Any = careless
        with Serving(app, address, limits):
            for ask, drop in (
                ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", b"x"),
                ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", b""),
                ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
            ):  # fmt: skip
                client, said = answered(address, ask)
                assert said.startswith(b"HTTP/1.1 200")
                assert 0.2 < held_s(client, drop) < 2
            # one that pays, and then says nothing
            client, _ = answered(address, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n")
            client.sendall(b"abc")
            assert held_s(client) < 2
            # one that pays late, and goes on
            with socket.create_connection(("127.0.0.1", address.port), timeout=5) as client:
                client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n")
                ask_again = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
                for more in (b"abc" + ask_again, ask_again, b""):
                    answer = http.client.HTTPResponse(client)
                    answer.begin()
                    assert (answer.status, answer.read()) == (200, b"ok")
                    time.sleep(0.1 if more.startswith(b"a") else 1)  # a pause is not a late head
                    client.sendall(more)

    @pytest.mark.parametrize("token", [None, TOKEN])
    def test_a_page_goes_on_over_one_connection(self, token: str | None) -> None:
        with running(token=token, head_s=0.4) as (page, _):
            bearer = {"Authorization": f"Bearer {token}"} if token else {}
            connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=5)
            connection.connect()
            first = connection.sock
            for path in ("/", "/app.js", "/uplot.js", "/api/history", "/nothing", "/healthz"):
                connection.request("GET", path, headers=bearer)
                answer = connection.getresponse()
                assert (answer.status, bool(answer.read())) == (404 if path == "/nothing" else 200, True)  # fmt: skip
                assert connection.sock is first
                time.sleep(0.6 if path in ("/", "/nothing") else 0)
            connection.close()

    @pytest.mark.parametrize("path", ["/stream.mjpg", "/api/events"])
    def test_a_stream_goes_on(self, path: str) -> None:
        with running(head_s=0.3) as (page, _):
            client, said = answered(page, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert said.startswith(b"HTTP/1.1 200")
            assert held_s(client, most_s=1.5) >= 1.5
