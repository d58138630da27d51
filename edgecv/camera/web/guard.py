"""What stands before every page: whose name was asked for, who asks, how often, and with what.

Pure ASGI, so that it costs little and works for streams.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import html
import ipaddress
import socket
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
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
#: A body that was announced has to be there after this time.
_BODY_S: Final = 3.0
_ASK: Final = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>{title}</title>
<link rel="stylesheet" href="/style.css"><main class="ask"><h1>{title}</h1><p role="alert">{says}</p>
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
        posts: Path → largest body in bytes, for those that take one; everything else is GET. Such a request has
            to be JSON that a page of this very host sends.
        title: Of the page that asks for the token.
        body_s: Seconds that a body may take.
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
        posts: Mapping[str, int] | None = None,
        title: str = "edgecv camera",
        body_s: float = _BODY_S,
    ) -> None:
        self._app, self._bound = app, bound
        self._token = None if token is None else token.encode()
        self._cookie_name = f"edgecv_{port}"
        self._cookie = "" if token is None else _derived(token)
        self._requests = requests or Bucket(120, 20)
        self._guesses = guesses or Bucket(10, 1 / 6)
        self._posts, self._title, self._body_s = dict(posts or {}), title, body_s

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer, or hand on."""
        if scope["type"] != "http":
            return
        send = _with_headers(send)
        refusal = self._refusal(scope)
        if refusal is None and scope["method"] == "POST":
            body = await self._body(receive, self._posts[scope["path"]])
            receive, refusal = _replayed(body or b"", receive), None if body is not None else _LATE
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            status, headers, body = refusal
            # Whoever is sent away gives its connection back: a body that it announced would be waited for.
            headers = [(b"content-length", str(len(body)).encode()), _CLOSE, *headers]
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
        refuse = self._refuse_post if scope["path"] in self._posts else _refuse_get
        refusal = refuse(scope, headers)
        if refusal or self._token is None or scope["path"] in ("/healthz", "/style.css"):
            return refusal
        return self._check_token(scope, headers, address)

    def _refuse_post(
        self, scope: MutableMapping[str, Any], headers: dict[bytes, bytes]
    ) -> _Answer | None:
        """Only what a page of ours sends: a form of another site has another origin, and cannot send JSON."""
        if scope["method"] != "POST":
            return _plain(405, "Only POST.", (b"allow", b"POST"))
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        if origins not in ([b"http://" + headers[b"host"]], [b"https://" + headers[b"host"]]):
            return _plain(403, "Only this page's own requests.")
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind != b"application/json":
            return _plain(415, "Only application/json.")
        length = headers.get(b"content-length", b"")
        if b"transfer-encoding" in headers or not length.isdigit():
            return _plain(411, "The length of the body has to be said.")
        most = self._posts[scope["path"]]
        if len(length) > 9 or int(length) > most:
            return _plain(413, f"At most {most} bytes.")
        return None

    async def _body(self, receive: Receive, most: int) -> bytes | None:
        """The body, or None when it does not come in time or ends early."""
        data = bytearray()
        try:
            async with asyncio.timeout(self._body_s):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        return None
                    data += message.get("body", b"")
                    if len(data) > most:
                        return None
                    if not message.get("more_body", False):
                        return bytes(data)
        except TimeoutError:
            return None

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
            return self._ask("This page needs the token that the program printed.")
        else:
            return None
        if not self._guesses.allows(address):
            return _plain(429, "Too many wrong tokens.", (b"retry-after", b"60"))
        return self._ask("That is not the token.")

    def _ask(self, says: str) -> _Answer:
        text = _ASK.format(title=html.escape(self._title), says=html.escape(says))
        return 401, [(b"content-type", b"text/html; charset=utf-8")], text.encode()

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


_LATE: Final = _plain(408, "The body did not come.")


def _refuse_get(scope: MutableMapping[str, Any], headers: dict[bytes, bytes]) -> _Answer | None:
    if scope["method"] not in ("GET", "HEAD"):
        return _plain(405, "Only GET and HEAD.", (b"allow", b"GET, HEAD"))
    if headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers:
        return _plain(413, "Requests have no body here.")
    return None


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A body that was read, for whoever comes next; after it what the client does."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def receiving() -> Message:
        return left.pop() if left else await receive()

    return receiving


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *HEADERS]
        await send(message)

    return sending
