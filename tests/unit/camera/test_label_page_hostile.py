"""The labels' page, as bad clients meet it."""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from label_parts import fill, give, labeling, post
from page_client import get, raw

from edgecv.camera.labelpage import LabelPage, serve_labels
from edgecv.camera.labelpage.app import POSTS
from edgecv.camera.web.bounded import Limits
from edgecv.drift.labeling import LABELS

TOKEN = "a-secret-of-tests"
LABEL = {"number": 1, "class": 0}


@pytest.fixture
def page(tmp_path: Path) -> Iterator[LabelPage]:
    fill(tmp_path / "audit")
    with labeling(tmp_path / "audit") as one:
        yield one
        # whatever was tried, nothing was written
        assert not (tmp_path / "audit" / LABELS).exists()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_labels_are_posted_and_nothing_else(method: str, page: LabelPage) -> None:
    for path in POSTS:
        status, headers, _ = post(page, path, LABEL, method)
        assert (status, headers["allow"]) == (405, "POST"), path


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/api/state", "/api/classes", "/picture/1", "/label.js"])
def test_everything_else_is_read_only(method: str, path: str, page: LabelPage) -> None:
    status, headers, _ = post(page, path, LABEL, method)
    assert (status, headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "origin",
    [
        None, "null", "http://evil.example", "http://127.0.0.1", "http://127.0.0.1:1", "https://evil.example",
        "http://127.0.0.1:{port}.evil.example", "http://evil.example@127.0.0.1:{port}", "ftp://127.0.0.1:{port}",
        "http://localhost:{port}", "",
    ],
)  # fmt: skip
def test_a_page_of_another_origin_labels_nothing(origin: str | None, page: LabelPage) -> None:
    given_origin = None if origin is None else origin.format(port=page.port)
    for path in POSTS:
        assert post(page, path, LABEL, Origin=given_origin)[0] == 403
    assert not page.session.done.is_set()


def test_two_origins_are_one_too_many(page: LabelPage) -> None:
    own = f"Origin: http://127.0.0.1:{page.port}\r\n"
    for pair in (own + "Origin: http://evil.example\r\n", "Origin: http://evil.example\r\n" + own):
        ask = (
            f"POST /api/label HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\n{pair}Content-Type: application/json\r\n"
            'Content-Length: 23\r\nConnection: close\r\n\r\n{"number":1,"class":0}  '
        )
        assert raw(page, ask.encode()).startswith(b"HTTP/1.1 403")


def test_another_host_is_refused_even_with_its_own_origin(page: LabelPage) -> None:
    # a name of another site that leads to this machine
    status, _, _ = post(
        page, "/api/label", LABEL, Host="evil.example", Origin="http://evil.example"
    )
    assert status in (400, 421)
    ask = (
        "POST /api/label HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n"
        'Content-Type: application/json\r\nContent-Length: 22\r\nConnection: close\r\n\r\n{"number":1,"class":0}'
    )
    assert raw(page, ask.encode()).startswith(b"HTTP/1.1 421")


@pytest.mark.parametrize(
    "kind",
    [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx"],
)  # fmt: skip
def test_what_a_form_can_send_is_refused(kind: str | None, page: LabelPage) -> None:
    assert post(page, "/api/label", LABEL, Content_Type=kind)[0] == 415


def test_large_bodies_are_refused_before_they_are_read(page: LabelPage) -> None:
    head = (
        f"POST /api/label HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\nOrigin: http://127.0.0.1:{page.port}\r\n"
        "Content-Type: application/json\r\n"
    )
    for length, status in (
        ("Content-Length: 257", 413),
        ("Content-Length: 20000000", 413),
        ("Content-Length: 99999999999999999999", 413),
        ("Content-Length: -1", 400),
        ("Content-Length: 1e2", 400),
        ("Transfer-Encoding: chunked", 411),
        ("X: y", 411),
    ):
        said = raw(page, f"{head}{length}\r\n\r\n".encode())
        assert said.startswith(f"HTTP/1.1 {status}".encode()), (length, said[:80])


def test_a_body_that_never_comes_is_let_go(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    served = serve_labels(tmp_path / "a", port=0, limits=Limits())
    served._serving._guard._body_s = 0.3
    with served as page:
        head = (
            f"POST /api/label HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\nOrigin: http://127.0.0.1:{page.port}\r\n"
            'Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"number"'
        )
        began = time.monotonic()
        said = raw(page, head.encode())
        assert said.startswith(b"HTTP/1.1 408")
        assert time.monotonic() - began < 2
        # one that goes away in the middle disturbs nobody
        with socket.create_connection(("127.0.0.1", page.port)) as gone:
            gone.sendall(head.encode())
        assert give(page, 1, 0)["labeled"] == 1


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"null", b"[]", b'"x"', b"[" * 200, b"\xff\xfe", b'{"number":1}', b'{"class":0}',
        b'{"number":1,"class":3}', b'{"number":1,"class":-1}', b'{"number":1,"class":true}',
        b'{"number":1,"class":0.0}',
        b'{"number":1,"class":"red"}', b'{"number":"1","class":0}', b'{"number":-1,"class":0}',
        b'{"number":null,"class":0}',
        b'{"number":1e3,"class":0}', b'{"number":NaN,"class":0}', b'{"number":99999999999999,"class":0}',
        b'{"number":{"a":1},"class":0}', b'{"number":1,"class":' + b"9" * 200 + b"}",
    ],
)  # fmt: skip
def test_what_is_no_label_is_refused(body: bytes, page: LabelPage) -> None:
    status, _, said = post(page, "/api/label", body)
    assert status == 400
    assert json.loads(said)["error"].startswith("Not understood")


def test_a_number_that_no_picture_has_is_gone(page: LabelPage) -> None:
    assert post(page, "/api/label", {"number": 99, "class": 0})[0] == 410
    assert post(page, "/api/skip", {"number": 0})[0] == 410
    assert get(page, "/picture/99")[0] == 410


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    body=st.one_of(
        st.binary(max_size=256),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
            lambda s: st.lists(s, max_size=3) | st.dictionaries(st.text(max_size=8), s, max_size=3),
            max_leaves=6,
        ),
        st.fixed_dictionaries(
            {"number": st.integers() | st.text(max_size=9), "class": st.integers() | st.floats()}
        ),
    )
)
def test_any_body_is_answered_and_only_a_label_is_written(tmp_path: Path, body: Any) -> None:
    # without a server between: the same application, four times as quick
    import asyncio

    from edgecv.camera.labelpage import Session
    from edgecv.camera.labelpage.app import build

    folder = tmp_path / "audit"
    if not folder.exists():
        fill(folder, 3)
    (folder / LABELS).unlink(missing_ok=True)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    said: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": data, "more_body": False}

    async def send(message: Any) -> None:
        said.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/api/label", "query_string": b"", "headers": [],
        "http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 1), "root_path": "",
    }  # fmt: skip
    asyncio.run(build(Session(folder))(scope, receive, send))
    assert said[0]["status"] in (200, 400, 410)
    assert (folder / LABELS).exists() == (said[0]["status"] == 200)


@pytest.mark.parametrize(
    "path",
    [
        "/picture/../audit.json", "/picture/..%2faudit.json", "/picture/0000001.png", "/picture/1.png",
        "/picture/%2e%2e/%2e%2e/etc/passwd", "/picture//etc/passwd", "/picture/-1", "/picture/1e0", "/picture/",
        "/picture",
        "/picture/%00", "/picture/%D9%A1", "/picture/audit.json", "/audit.json", "/labels.json", "/0000001.png",
        "/picture/" + "9" * 200, "/static/label.js", "/..\\audit.json",
    ],
)  # fmt: skip
def test_nothing_of_the_disk_is_reachable_but_pictures_by_number(
    path: str, page: LabelPage
) -> None:
    ask = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    said = raw(page, ask.encode())
    assert re.match(rb"HTTP/1.1 4\d\d", said), said[:80]
    for secret in (b"root:", b"edgecv.audit", b"PNG"):
        assert secret not in said


def test_a_link_or_another_file_of_a_pictures_name_is_not_given(
    tmp_path: Path, page: LabelPage
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("root: nothing to see")
    first, second = tmp_path / "audit" / "0000001.png", tmp_path / "audit" / "0000002.png"
    first.unlink()
    first.symlink_to(secret)
    second.write_text("root: no picture")
    for number in (1, 2):
        status, _, body = get(page, f"/picture/{number}")
        assert (status, b"root" in body) == (410, False)


def test_beyond_this_machine_a_token_is_needed(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    with serve_labels(tmp_path / "a", host="0.0.0.0", port=0) as page:
        made_up = page.url.partition("?token=")[2]
        assert len(made_up) >= 20
        for path in ("/", "/api/state", "/picture/1", "/label.js", "/api/classes"):
            assert get(page, path)[0] == 401
        for path in POSTS:
            assert post(page, path, LABEL)[0] == 401
        assert not (tmp_path / "a" / LABELS).exists()
        assert not page.session.done.is_set()
        assert post(page, "/api/label", LABEL, Authorization="Bearer wrong")[0] == 401
        assert post(page, "/api/label", LABEL, Authorization=f"Bearer {made_up}")[0] == 200


def test_a_cookie_alone_does_not_label_for_another_site(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    with labeling(tmp_path / "a", token=TOKEN) as page:
        _, headers, _ = get(page, f"/?token={TOKEN}")
        assert "SameSite=Strict" in headers["set-cookie"]
        cookie = headers["set-cookie"].partition(";")[0]
        assert b"edgecv labels" in get(page, "/")[2]
        evil = post(page, "/api/label", LABEL, Cookie=cookie, Origin="http://evil.example")
        assert evil[0] == 403
        assert post(page, "/api/label", LABEL, Cookie=cookie)[0] == 200


def test_connections_are_counted_as_on_the_cameras_page(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    with labeling(tmp_path / "a", connections=3, head_s=0.5) as page:
        held = [socket.create_connection(("127.0.0.1", page.port)) for _ in range(3)]
        time.sleep(0.1)
        assert raw(page, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 503")
        time.sleep(0.8)  # and those that say nothing are let go
        assert get(page, "/api/state")[0] == 200
        for one in held:
            one.close()


@pytest.mark.parametrize("token", [None, TOKEN])
def test_what_is_accepted_goes_on_over_one_connection(token: str | None, tmp_path: Path) -> None:
    fill(tmp_path / "a")
    with labeling(tmp_path / "a", token=token, head_s=0.4) as page:
        headers = {
            "Origin": f"http://127.0.0.1:{page.port}",
            "Content-Type": "application/json",
            **({"Authorization": f"Bearer {token}"} if token else {}),
        }
        connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=5)
        connection.connect()
        first = connection.sock
        for number in (1, 2, 3):
            for method, path, body in (
                ("POST", "/api/label", json.dumps({"number": number, "class": 0})),
                ("POST", "/api/label", "{}"),
                ("GET", f"/picture/{number + 1}", None),
                ("GET", "/api/state", None),
            ):
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                said = answer.read()
                assert answer.status == (400 if body == "{}" else 200), said
                assert connection.sock is first
            assert json.loads(said)["labeled"] == number
            time.sleep(0.6)  # longer than a head may take; who labels looks at a picture
        connection.close()
