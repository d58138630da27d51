"""A guarded application on uvicorn, in a thread of its own; the camera's page and the labels' both stand on it."""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
import time
from types import TracebackType
from typing import Any, Final, Self

from edgecv.camera.web.bounded import Limits, bounded_protocol, reap
from edgecv.camera.web.guard import Guard, is_loopback
from edgecv.errors import InputError, require

__all__ = ["Address", "Serving", "claim"]

_LEAST_TOKEN: Final = 8


class Address:
    """Where a page is, before it is served: the port is taken.

    Attributes:
        host: Address that is listened on.
        port: The one that was asked for, or a free one.
        token: Word that viewers need, or None.
        url: With the token where that was made up; one that was given stays secret.
        listener: The socket.
    """

    def __init__(
        self, listener: socket.socket, host: str, token: str | None, *, made_up: bool
    ) -> None:
        self.listener: socket.socket = listener
        self.host: str = host
        self.port: int = listener.getsockname()[1]
        self.token: str | None = token
        shown = socket.gethostname() if host in ("0.0.0.0", "::") else host
        shown = f"[{shown}]" if ":" in shown else shown
        self.url: str = f"http://{shown}:{self.port}/" + (f"?token={token}" if made_up else "")


def claim(host: str, port: int, token: str | None, *packages: str) -> Address:
    """Take a port.

    Args:
        host: Address to listen on. Beyond this machine viewers need a token.
        port: 0 for any that is free.
        token: Word that viewers need; made up where one is needed and none is given.
        packages: Needed beside the server's own.

    Raises:
        MissingExtraError: The extra ``[camera]`` is not installed.
        InputError: The address cannot be had, or the token is too short.
    """
    require("starlette", "uvicorn", *packages, extra="camera")
    if token is not None and not (
        len(token) >= _LEAST_TOKEN and token.isascii() and token.isprintable()
    ):
        raise InputError(
            f"a token of {len(token)} characters is no secret",
            cure=f"Use {_LEAST_TOKEN} or more of ASCII, or leave it out.",
        )
    made_up = token is None and not is_loopback(host)
    if made_up:
        token = secrets.token_urlsafe(16)
    return Address(_listen(host, port), host, token, made_up=made_up)


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(64)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise InputError(
            f"{host}:{port} cannot be listened on: {error.strerror or error}",
            cure="Choose another --port (0 takes a free one) or --host.",
        ) from error
    return listener


class Serving:
    """A guarded application while it is served. A context manager.

    Args:
        guard: The application.
        address: Where.
        limits: What a client may cost.
    """

    def __init__(self, guard: Guard, address: Address, limits: Limits) -> None:
        self._guard, self._address, self._limits = guard, address, limits
        self._server: Any = None
        self._thread = threading.Thread(target=self._serve, name="edgecv-web", daemon=True)

    def __enter__(self) -> Self:
        import uvicorn

        config = uvicorn.Config(
            self._guard,
            http=bounded_protocol(self._limits),
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=1,
            server_header=False,
            proxy_headers=False,
        )
        self._server = uvicorn.Server(config)
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)
        return self

    def _serve(self) -> None:
        async def serving() -> None:
            reaper = asyncio.create_task(reap(self._limits))
            try:
                await self._server.serve(sockets=[self._address.listener])
            finally:
                reaper.cancel()

        asyncio.run(serving())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.should_exit = True
        self._thread.join(5)
        self._address.listener.close()
