"""What stands before every page: whose name was asked for, who asks, how often, and with what.

Pure ASGI, so that it costs little and works for streams.
"""

from __future__ import annotations

import hashlib
import hmac
import html
import ipaddress
import socket
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode

__all__ = ["Bucket", "Guard", "host_allowed", "is_loopback"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
#: Headers of every answer.
HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
        b" form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
    (b"cache-control", b"no-store"),
)
#: Addresses whose rates are kept.
_ADDRESSES: Final = 1024
_ASK: Final = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>edgecv camera</title>
<link rel="stylesheet" href="/style.css"><main class="ask"><h1>edgecv camera</h1><p role="alert">{says}</p>
<form action="/" method="get"><label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button>Open</button></form></main></html>
"""


class Bucket:
    """A rate with a burst, per address.

    Args:
        burst: Requests at once.
        per_s: Requests per second after that.
        clock: Seconds, monotonic.

    >>> bucket = Bucket(2, 1.0, clock=lambda: 0.0)
    >>> [bucket.allows("a") for _ in range(3)], bucket.allows("b")
    ([True, True, False], True)
    """

    def __init__(
        self, burst: float, per_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst, self._per_s, self._clock = burst, per_s, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, address: str) -> bool:
        """Whether *address* may go on now; counts."""
        now = self._clock()
        left, seen = self._left.pop(address, (self._burst, now))
        left = min(self._burst, left + (now - seen) * self._per_s)
        allowed = left >= 1
        self._left[address] = (left - 1 if allowed else left, now)
        while len(self._left) > _ADDRESSES:
            self._left.popitem(last=False)
        return allowed


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("localhost")
    (True, True, False, True)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def host_allowed(header: str, bound: str) -> bool:
    """Whether the Host that a browser was told is ours: another site's name must not lead here.

    Beyond this machine any bare address is allowed, since no other site can be called by a number.

    >>> host_allowed("localhost:8080", "127.0.0.1"), host_allowed("evil.example", "127.0.0.1")
    (True, False)
    >>> host_allowed("192.168.1.5:8080", "0.0.0.0"), host_allowed("192.168.1.5", "127.0.0.1")
    (True, False)
    """
    name = header.strip().lower()
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") == 1:
        name = name.partition(":")[0]
    if name in _LOOPBACK:
        return True
    if is_loopback(bound):
        return False
    own = socket.gethostname().lower()
    if name in (bound.lower(), own, f"{own.partition('.')[0]}.local"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Guard:
    """An ASGI application around another.

    Args:
        app: What is guarded.
        bound: Address that the server listens on.
        port: Of the server; part of the cookie's name, which a host's ports share.
        token: Word that is asked for, or None.
        requests: Rate of requests per address.
        guesses: Rate of wrong tokens per address.
    """

    def __init__(
        self,
        app: App,
        *,
        bound: str,
        port: int,
        token: str | None,
        requests: Bucket | None = None,
        guesses: Bucket | None = None,
    ) -> None:
        self._app, self._bound = app, bound
        self._token = None if token is None else token.encode()
        self._cookie_name = f"edgecv_{port}"
        self._cookie = "" if token is None else _derived(token)
        self._requests = requests or Bucket(120, 20)
        self._guesses = guesses or Bucket(10, 1 / 6)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer, or hand on."""
        if scope["type"] != "http":
            return
        send = _with_headers(send)
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            status, headers, body = refusal
            headers = [(b"content-length", str(len(body)).encode()), *headers]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    def _refusal(self, scope: MutableMapping[str, Any]) -> _Answer | None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        address = (scope.get("client") or ("?", 0))[0]
        if not self._requests.allows(address):
            return _plain(429, "Too many requests.", (b"retry-after", b"5"))
        if len(hosts) != 1 or not host_allowed(hosts[0].decode("latin-1"), self._bound):
            return _plain(421, "This is not the host that you asked for.")
        if scope["method"] not in ("GET", "HEAD"):
            return _plain(405, "Only GET and HEAD.", (b"allow", b"GET, HEAD"), _CLOSE)
        if headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers:
            return _plain(413, "Requests have no body here.", _CLOSE)
        if self._token is None or scope["path"] in ("/healthz", "/style.css"):
            return None
        return self._check_token(scope, headers, address)

    def _check_token(
        self, scope: MutableMapping[str, Any], headers: dict[bytes, bytes], address: str
    ) -> _Answer | None:
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in query if name == "token"]
        bearer = headers.get(b"authorization", b"").partition(b" ")
        if bearer[0].lower() == b"bearer":
            if self._is_token(bearer[2].strip()):
                return None
        elif given:
            if self._is_token(given[-1].encode()):
                return self._welcome(scope["path"], [pair for pair in query if pair[0] != "token"])
        elif not self._has_cookie(headers.get(b"cookie", b"").decode("latin-1")):
            return _page(
                401, _ASK.format(says="This page needs the token that the program printed.")
            )
        else:
            return None
        if not self._guesses.allows(address):
            return _plain(429, "Too many wrong tokens.", (b"retry-after", b"60"))
        return _page(401, _ASK.format(says=html.escape("That is not the token.")))

    def _is_token(self, word: bytes) -> bool:
        return hmac.compare_digest(word, self._token or b"")

    def _has_cookie(self, header: str) -> bool:
        for part in header.split(";"):
            name, _, value = part.strip().partition("=")
            if name == self._cookie_name and hmac.compare_digest(
                value.encode("latin-1"), self._cookie.encode()
            ):
                return True
        return False

    def _welcome(self, path: str, query: list[tuple[str, str]]) -> _Answer:
        """The same page without the token in its address, and a cookie instead."""
        # one slash: "//other.example" would lead to another host
        target = "/" + quote(path.lstrip("/")) + (f"?{urlencode(query)}" if query else "")
        cookie = f"{self._cookie_name}={self._cookie}; Path=/; HttpOnly; SameSite=Strict; Max-Age=31536000"
        headers = ((b"location", target.encode()), (b"set-cookie", cookie.encode()))
        return _plain(303, "", *headers)


_Answer = tuple[int, list[tuple[bytes, bytes]], bytes]
_CLOSE: Final = (b"connection", b"close")


def _derived(token: str) -> str:
    """The cookie: it opens the page, also after a restart with the same token, and is not the token."""
    return hashlib.sha256(b"edgecv camera cookie\0" + token.encode()).hexdigest()


def _plain(status: int, text: str, *headers: tuple[bytes, bytes]) -> _Answer:
    return status, [(b"content-type", b"text/plain; charset=utf-8"), *headers], text.encode()


def _page(status: int, text: str) -> _Answer:
    return status, [(b"content-type", b"text/html; charset=utf-8")], text.encode()


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *HEADERS]
        await send(message)

    return sending
