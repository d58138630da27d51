"""The server in a thread of its own."""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from edgecv.camera.frame import Answer
from edgecv.camera.web.bounded import Limits, bounded_protocol, reap
from edgecv.camera.web.guard import Guard, is_loopback
from edgecv.camera.web.hub import Hub
from edgecv.errors import InputError, require

if TYPE_CHECKING:
    from edgecv.camera.pipeline import Pipeline

__all__ = ["Page", "serve"]


def serve(
    pipeline: Pipeline,
    host: str = "127.0.0.1",
    port: int = 8080,
    token: str | None = None,
    limits: Limits | None = None,
) -> Page:
    """A page on *pipeline*; enter it to start, and add it to the pipeline as a sink.

    Args:
        pipeline: What is shown.
        host: Address to listen on. Beyond this machine viewers need a token.
        port: 0 for any that is free.
        token: Word that viewers need; made up where one is needed and none is given.
        limits: What a client may cost.

    Raises:
        MissingExtraError: The extra ``[camera]`` is not installed.
        InputError: The address cannot be had, or the token is too short.
    """
    require("starlette", "uvicorn", "prometheus_client", extra="camera")
    if token is not None and (len(token) < 8 or not token.isascii() or not token.isprintable()):
        raise InputError(
            f"a token of {len(token)} characters is no secret",
            cure="Use 8 or more of ASCII, or leave it out.",
        )
    made_up = token is None and not is_loopback(host)
    if made_up:
        token = secrets.token_urlsafe(16)
    page = Page(pipeline, _listen(host, port), host, token, limits or Limits())
    if made_up:
        page.url += f"?token={token}"
    return page


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


class Page:
    """The page while it is served. A context manager and a sink.

    Attributes:
        url: Where it is, with the token where that was made up; one that was given stays secret.
        hub: What viewers get.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        listener: socket.socket,
        host: str,
        token: str | None,
        limits: Limits,
    ) -> None:
        from edgecv.camera.web.metrics import Metrics

        self._listener, self._limits = listener, limits
        self.port: int = listener.getsockname()[1]
        shown = socket.gethostname() if host in ("0.0.0.0", "::") else host
        shown = f"[{shown}]" if ":" in shown else shown
        self.url: str = f"http://{shown}:{self.port}/"
        self.hub: Hub = Hub(pipeline)
        self.metrics: Metrics = Metrics()
        self._guarded = (host, token)
        self._server: Any = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        import uvicorn

        from edgecv.camera.web.app import build

        host, token = self._guarded
        guard = Guard(build(self.hub, self.metrics), bound=host, port=self.port, token=token)
        config = uvicorn.Config(
            guard,
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
        self.hub.__enter__()
        self._thread = threading.Thread(target=self._serve, name="edgecv-web", daemon=True)
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)
        return self

    def _serve(self) -> None:
        async def serving() -> None:
            reaper = asyncio.create_task(reap(self._limits))
            try:
                await self._server.serve(sockets=[self._listener])
            finally:
                reaper.cancel()

        asyncio.run(serving())

    def __exit__(self, *_: object) -> None:
        self.hub.__exit__()
        if self._server is not None:
            self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(5)
        self._listener.close()

    def take(self, answer: Answer) -> None:
        """Show an answer, and count its times."""
        self.hub.take(answer)
        self.metrics.take(answer)
