"""The routes. Pictures are asked for by number, and what is posted is a few numbers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from edgecv.camera.labelpage.session import GoneError, Session
from edgecv.errors import EdgecvError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["POSTS", "build"]

#: Path → file, its package and its type.
_FILES: Final = {
    "/": ("edgecv.camera.labelpage", "index.html", "text/html; charset=utf-8"),
    "/label.js": ("edgecv.camera.labelpage", "label.js", "text/javascript; charset=utf-8"),
    "/label.css": ("edgecv.camera.labelpage", "label.css", "text/css; charset=utf-8"),
    "/style.css": ("edgecv.camera.web", "style.css", "text/css; charset=utf-8"),
}
_MOST_BODY: Final = 256
#: What may be posted, and the largest body.
POSTS: Final = dict.fromkeys(
    ("/api/label", "/api/skip", "/api/undo", "/api/again", "/api/done"), _MOST_BODY
)
_Call = Callable[[dict[str, Any]], dict[str, Any]]


def build(session: Session) -> Starlette:
    """The application, without its guard."""
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, PlainTextResponse, Response
    from starlette.routing import Route

    async def answer(call: Callable[[], dict[str, Any]]) -> Response:
        """What a call gives as JSON; what it raises, as a sentence for the person who labels."""
        try:
            return JSONResponse(await asyncio.to_thread(call))
        except GoneError as error:
            return JSONResponse({"error": str(error), "state": session.state()}, 410)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            return JSONResponse({"error": f"The label could not be written: {reason}."}, 507)
        except EdgecvError as error:
            return JSONResponse({"error": str(error)}, 500)

    def post(call: _Call) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                values = json.loads(await request.body())
                if not isinstance(values, dict):
                    raise ValueError("no object")
                asked = call_with(call, values)
            except (ValueError, TypeError, RecursionError) as error:
                return JSONResponse({"error": f"Not understood: {error}."}, 400)
            return await answer(asked)

        return endpoint

    def label(values: dict[str, Any]) -> dict[str, Any]:
        return session.label(values["number"], values["class"])

    def finish(_: dict[str, Any]) -> dict[str, Any]:
        session.done.set()
        return {"done": True}

    async def state(_: Request) -> Response:
        return await answer(session.state)

    async def classes(_: Request) -> Response:
        return JSONResponse(list(session.classes))

    async def picture(request: Request) -> Response:
        number = request.path_params["number"]
        if not (number.isascii() and number.isdigit() and len(number) <= 12):
            return PlainTextResponse("Pictures have numbers.", 404)
        try:
            data = await asyncio.to_thread(session.picture, int(number))
        except EdgecvError as error:
            return PlainTextResponse(str(error), 410 if isinstance(error, GoneError) else 500)
        return Response(data, media_type="image/png")

    def call_with(call: _Call, values: dict[str, Any]) -> Callable[[], dict[str, Any]]:
        """The call, after a look at what it is given."""
        if call in (label, skip):
            _integer(values, "number", 10**12)
        if call is label and values.get("class", 0) is not None:
            _integer(values, "class", len(session.classes))
        return lambda: call(values)

    def skip(values: dict[str, Any]) -> dict[str, Any]:
        return session.skip(values["number"])

    routes = [
        Route("/api/state", state),
        Route("/api/classes", classes),
        Route("/picture/{number}", picture),
        Route("/api/label", post(label), methods=["POST"]),
        Route("/api/skip", post(skip), methods=["POST"]),
        Route("/api/undo", post(lambda _: session.undo()), methods=["POST"]),
        Route("/api/again", post(lambda _: session.again()), methods=["POST"]),
        Route("/api/done", post(finish), methods=["POST"]),
    ]
    for path, (package, name, kind) in _FILES.items():
        data = resources.files(package).joinpath("static", name).read_bytes()
        routes.append(Route(path, _file(data, kind)))
    return Starlette(routes=routes)


def _integer(values: dict[str, Any], key: str, below: int) -> None:
    value = values.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < below:
        raise ValueError(f"{key!r} is no integer from 0 to {below - 1}")


def _file(data: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    from starlette.responses import Response

    async def endpoint(_: Request) -> Response:
        return Response(data, headers={"content-type": kind})

    return endpoint
