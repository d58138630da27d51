"""The routes. Every path is written here; nothing of the disk is reachable but the page's own files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import resources
from typing import TYPE_CHECKING, Final

from edgecv.camera.web.hub import MOST_VIEWERS, Hub
from edgecv.camera.web.metrics import Metrics

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["build"]

#: Path → file of the package, and its type.
_FILES: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/app.js": ("app.js", "text/javascript; charset=utf-8"),
    "/plots.js": ("plots.js", "text/javascript; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/uplot.js": ("uplot/uPlot.iife.min.js", "text/javascript; charset=utf-8"),
    "/uplot.css": ("uplot/uPlot.min.css", "text/css; charset=utf-8"),
}
_BOUNDARY: Final = "edgecv-frame"
#: The loop counts as dead after this time without a round.
_DEAD_S: Final = 15.0


def build(hub: Hub, metrics: Metrics) -> Starlette:
    """The application, without its guard."""
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
    from starlette.routing import Route

    def busy() -> Response:
        return PlainTextResponse("Too many viewers.", 503, headers={"retry-after": "10"})

    async def stream(request: Request) -> Response:
        if request.method == "HEAD":
            return Response(media_type="multipart/x-mixed-replace")
        if hub.viewers >= MOST_VIEWERS:
            return busy()
        kind = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
        return StreamingResponse(_parts(hub), media_type=kind)

    async def snapshot(_: Request) -> Response:
        data = await asyncio.to_thread(hub.snapshot)
        if data is None:
            return PlainTextResponse("No frame yet.", 503, headers={"retry-after": "1"})
        return Response(data, media_type="image/jpeg")

    async def stats(_: Request) -> Response:
        return Response(hub.stats_text, media_type="application/json")

    async def history(_: Request) -> Response:
        return JSONResponse({"boot": hub.boot, "columns": hub.history()})

    async def events(request: Request) -> Response:
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        if hub.readers >= MOST_VIEWERS:
            return busy()
        boot, _, number = request.headers.get("last-event-id", "").rpartition("-")
        after = int(number) if boot == hub.boot and number.isdigit() and len(number) < 16 else 0
        return StreamingResponse(hub.messages(after), media_type="text/event-stream")

    async def prometheus(_: Request) -> Response:
        text, kind = metrics.text(hub.stats)
        return Response(text, headers={"content-type": kind})

    async def healthz(_: Request) -> Response:
        alive_ns = hub.pipeline.alive_ns
        dead = bool(alive_ns) and time.monotonic_ns() - alive_ns > _DEAD_S * 1e9
        state = "dead" if dead else "ok" if alive_ns else "starting"
        return JSONResponse({"status": state}, 503 if dead else 200)

    routes = [
        Route("/stream.mjpg", stream),
        Route("/snapshot.jpg", snapshot),
        Route("/api/stats", stats),
        Route("/api/history", history),
        Route("/api/events", events),
        Route("/metrics", prometheus),
        Route("/healthz", healthz),
    ]
    static = resources.files("edgecv.camera.web").joinpath("static")
    for path, (name, kind) in _FILES.items():
        data = static.joinpath(name).read_bytes()
        routes.append(Route(path, _file(data, kind)))
    return Starlette(routes=routes)


def _file(data: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    from starlette.responses import Response

    async def endpoint(_: Request) -> Response:
        return Response(data, headers={"content-type": kind})

    return endpoint


async def _parts(hub: Hub) -> AsyncIterator[bytes]:
    # The next part's head follows each picture at once. Chromium shows a part when the next one begins: with
    # the boundary alone it is always one picture behind (measured, and then picture and answer differ).
    head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\n\r\n".encode()
    yield head
    async for data in hub.pictures():
        yield data + b"\r\n" + head
