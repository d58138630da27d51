"""The page's server, as bad clients meet it."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from camera_parts import ListSource, LiveSource, pause, shipped_runtime
from page_client import get, raw, running, wait

from edgecv.camera import Pipeline, Shot
from edgecv.camera.web import Page, serve
from edgecv.camera.web.bounded import Limits
from edgecv.camera.web.guard import Bucket, host_allowed
from edgecv.errors import InputError

TOKEN = "a-secret-of-tests"


@pytest.fixture(scope="module")
def shared() -> Iterator[Page]:
    """One page for the tests that leave nothing behind."""
    with running("synth:?rate=5") as (page, _):
        yield page


class TestToken:
    def test_nothing_but_health_without_it(self) -> None:
        with running(token=TOKEN) as (page, _):
            assert page.url == f"http://127.0.0.1:{page.port}/"  # what was given is not printed
            for path in (
                "/",
                "/api/stats",
                "/api/events",
                "/stream.mjpg",
                "/snapshot.jpg",
                "/metrics",
                "/app.js",
            ):
                status, _, body = get(page, path)
                assert status == 401, path
                assert TOKEN.encode() not in body
            assert get(page, "/healthz")[0] == 200

    def test_it_is_traded_for_a_cookie_that_outlives_a_restart(self) -> None:
        with running(token=TOKEN) as (page, _):
            status, headers, _ = get(page, f"/?token={TOKEN}&x=1")
            assert (status, headers["location"]) == (303, "/?x=1")
            cookie = headers["set-cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=Strict" in cookie
            assert TOKEN not in cookie
            name, value = cookie.partition(";")[0].split("=")
            assert get(page, "/api/stats", Cookie=f"a=b; {name}={value}")[0] == 200
            assert get(page, "/api/stats", Cookie=f"{name}={value[:-1]}x")[0] == 401
            assert get(page, "/metrics", Authorization=f"Bearer {TOKEN}")[0] == 200
        with running(token=TOKEN) as (page, _):
            again = f"edgecv_{page.port}={value}"
            assert get(page, "/api/stats", Cookie=again)[0] == 200
        with running(token="another-token") as (page, _):
            assert get(page, "/api/stats", Cookie=f"edgecv_{page.port}={value}")[0] == 401

    def test_guessing_is_slow(self) -> None:
        with running(token=TOKEN) as (page, _):
            answers = [get(page, f"/?token=guess-{n}")[0] for n in range(12)]
            assert answers == [401] * 10 + [429] * 2
            # the right one still opens
            assert get(page, f"/?token={TOKEN}")[0] == 303

    def test_the_way_back_does_not_lead_elsewhere(self) -> None:
        with running(token=TOKEN) as (page, _):
            status, headers, _ = get(page, f"//evil.example/?token={TOKEN}")
            assert status == 303
            assert headers["location"] == "/evil.example/"

    def test_beyond_this_machine_one_is_made_up(self) -> None:
        with shipped_runtime() as runtime:
            pipeline = Pipeline(ListSource([1]), runtime)
            urls = []
            for _ in range(2):
                with serve(pipeline, host="0.0.0.0", port=0) as page:
                    urls.append(page.url.partition("?token=")[2])
                    assert get(page, "/api/stats")[0] == 401
            assert len(set(urls)) == 2
            assert all(len(token) >= 20 for token in urls)
            with pytest.raises(InputError, match="no secret"):
                serve(pipeline, token="short")

    def test_a_taken_port_says_so(self) -> None:
        with shipped_runtime() as runtime:
            pipeline = Pipeline(ListSource([1]), runtime)
            with (
                serve(pipeline, port=0) as page,
                pytest.raises(InputError, match="cannot be listened on: Address already in use"),
            ):
                serve(pipeline, port=page.port)


class TestHostile:
    @pytest.mark.parametrize(
        "host", ["evil.example", "", "127.0.0.1.evil.example", "10.0.0.1", "localhost.evil"]
    )
    def test_another_name_is_refused(self, host: str, shared: Page) -> None:
        assert get(shared, "/api/stats", Host=host)[0] == 421

    def test_two_names_or_none_are_refused(self) -> None:
        with running() as (page, _):
            two = raw(
                page,
                b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\nConnection: close\r\n\r\n",
            )
            assert two.startswith((b"HTTP/1.1 400", b"HTTP/1.1 421"))
            none = raw(page, b"GET / HTTP/1.0\r\n\r\n")
            assert none.startswith(b"HTTP/1.1 421")

    @pytest.mark.parametrize(
        "path",
        [
            "/../pyproject.toml", "/static/../app.py", "/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd",
            "//etc/passwd", "/app.js/../../server.py", "/..\\..\\etc\\passwd", "/index.html", "/static/app.js",
            "/app.py", "/%00", "/.git/config",
        ],
    )  # fmt: skip
    def test_nothing_of_the_disk_is_reachable(self, path: str, shared: Page) -> None:
        ask = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        said = raw(shared, ask.encode())
        assert re.match(rb"HTTP/1.1 4\d\d", said), said[:80]
        assert b"root:" not in said
        assert b"import" not in said

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
    def test_it_takes_nothing(self, method: str, shared: Page) -> None:
        assert get(shared, "/api/stats", method)[0] == 405

    def test_a_body_is_refused_before_it_is_read(self) -> None:
        with running() as (page, _):
            head = b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000000\r\n\r\n"
            assert raw(page, head).startswith(b"HTTP/1.1 413")
            chunked = (
                b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"
            )
            assert raw(page, chunked).startswith(b"HTTP/1.1 413")

    @pytest.mark.parametrize(
        "head",
        [b"X: " + b"a" * 70_000, b"\r\n".join(b"X%d: y" % n for n in range(2000))],
        ids=["one large header", "many headers"],
    )
    def test_large_headers_are_refused(self, head: bytes) -> None:
        with running() as (page, _):
            said = raw(page, b"GET / HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n\r\n")
            assert said.startswith(b"HTTP/1.1 431") or said == b""
            assert get(page, "/healthz")[0] == 200

    def test_a_client_that_never_finishes_its_headers_is_let_go(self) -> None:
        with (
            running(head_s=0.4) as (page, _),
            socket.create_connection(("127.0.0.1", page.port), timeout=5) as slow,
        ):
            slow.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
            began = time.monotonic()
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                while time.monotonic() - began < 5:
                    slow.sendall(b"X: y\r\n")  # a drop now and then does not buy time
                    slow.settimeout(0.05)
                    with contextlib.suppress(TimeoutError):
                        if slow.recv(1) == b"":
                            break
            assert 0.2 < time.monotonic() - began < 2
            assert get(page, "/healthz")[0] == 200

    def test_a_client_that_says_nothing_is_let_go(self) -> None:
        with running(head_s=0.3) as (page, _):
            assert raw(page, b"") == b""

    def test_a_client_that_does_not_read_is_let_go(self) -> None:
        class Large(LiveSource):
            def decode(self, raw: Any) -> Shot:
                return Shot(np.random.default_rng(raw).integers(0, 256, (540, 960, 3), np.uint8))

        with shipped_runtime() as runtime:
            pipeline = Pipeline(Large([x for n in range(500) for x in (n, pause(0.02))]), runtime)
            with serve(pipeline, port=0, limits=Limits(stuck_s=0.5)) as page:
                pipeline.add(page)
                thread = threading.Thread(target=pipeline.run, daemon=True)
                thread.start()
                with socket.create_connection(("127.0.0.1", page.port), timeout=5) as stuck:
                    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                    stuck.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    wait(lambda: page.hub.viewers == 1)
                    wait(lambda: page.hub.viewers == 0)
                pipeline.stop()
                thread.join(10)

    def test_connections_are_counted(self) -> None:
        with running(connections=5, head_s=2.0) as (page, _):
            held = [socket.create_connection(("127.0.0.1", page.port)) for _ in range(5)]
            wait(lambda: len(page._limits.open) == 5)
            said = raw(page, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert said.startswith(b"HTTP/1.1 503")
            for one in held:
                one.close()
            wait(lambda: not page._limits.open)
            assert get(page, "/healthz")[0] == 200

    def test_one_address_does_not_take_all(self) -> None:
        with running(per_address=3, head_s=2.0) as (page, _):
            held = [socket.create_connection(("127.0.0.1", page.port)) for _ in range(3)]
            wait(lambda: len(page._limits.open) == 3)
            assert raw(page, b"").startswith(b"HTTP/1.1 503")
            for one in held:
                one.close()

    def test_a_head_of_a_stream_has_an_end(self) -> None:
        with running() as (page, _):
            for path in ("/stream.mjpg", "/api/events"):
                assert get(page, path, "HEAD")[0] == 200
            assert (page.hub.viewers, page.hub.readers, page.hub.encoded) == (0, 0, 0)

    def test_requests_are_counted(self) -> None:
        with running() as (page, _):
            answers = [get(page, "/healthz")[0] for _ in range(140)]
            assert answers[:100] == [200] * 100
            assert 429 in answers

    def test_what_is_no_http_is_refused_and_forgotten(self) -> None:
        with running() as (page, _):
            for data in (
                b"\x16\x03\x01\x02\x00" + bytes(300),
                b"GET\r\n\r\n",
                b"\r\n" * 10,
                bytes(range(256)),
            ):
                said = raw(page, data + b"\r\n\r\n")
                assert said == b"" or said.startswith(b"HTTP/1.1 400")
            assert get(page, "/healthz")[0] == 200

    def test_fifty_viewers_and_the_pipeline_goes_on(self) -> None:
        with running("synth:?rate=30") as (page, pipeline):
            clients = [
                socket.create_connection(("127.0.0.1", page.port), timeout=15) for _ in range(50)
            ]
            for client in clients:
                client.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
            wait(lambda: page.hub.viewers == 50)
            got = [client.recv(100_000) for client in clients]
            assert all(data.startswith(b"HTTP/1.1 200") for data in got)
            before, encoded = pipeline.counts.taken, page.hub.encoded
            wait(lambda: pipeline.counts.taken >= before + 20, 15)
            # one encoding serves all fifty
            assert page.hub.encoded - encoded < 50
            assert get(page, "/healthz")[0] == 200
            for client in clients:
                client.close()
            wait(lambda: page.hub.viewers == 0)

    def test_more_viewers_than_there_is_room_for_are_told(self) -> None:
        with running() as (page, _), pytest.MonkeyPatch.context() as patch:
            patch.setattr("edgecv.camera.web.app.MOST_VIEWERS", 0)
            status, headers, _ = get(page, "/stream.mjpg")
            assert (status, headers["retry-after"]) == (503, "10")
            assert get(page, "/api/events")[0] == 503

    def test_it_ends_soon_although_viewers_are_there(self) -> None:
        with running() as (page, _):
            client = socket.create_connection(("127.0.0.1", page.port), timeout=5)
            client.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
            wait(lambda: page.hub.viewers == 1)
            began = time.monotonic()
        assert time.monotonic() - began < 3
        client.close()


def test_a_bucket_fills_again_and_forgets_old_addresses() -> None:
    now = [0.0]
    bucket = Bucket(3, 2.0, clock=lambda: now[0])
    assert [bucket.allows("a") for _ in range(4)] == [True, True, True, False]
    now[0] = 1.0
    assert [bucket.allows("a") for _ in range(3)] == [True, True, False]
    for number in range(5000):
        bucket.allows(str(number))
    assert len(bucket._left) == 1024


@pytest.mark.parametrize(
    ("header", "bound", "allowed"),
    [
        ("[::1]:8080", "127.0.0.1", True),
        ("LOCALHOST", "127.0.0.1", True),
        ("192.168.0.9", "0.0.0.0", True),
        ("[fe80::1]:80", "::", True),
        (f"{socket.gethostname()}:8080", "0.0.0.0", True),
        ("attacker.example:8080", "0.0.0.0", False),
        ("192.168.0.9", "127.0.0.1", False),
        ("camera.example", "camera.example", True),
    ],
)
def test_names_that_are_ours(header: str, bound: str, allowed: bool) -> None:
    assert host_allowed(header, bound) is allowed
