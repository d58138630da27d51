"""The camera's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from edgecv.camera.frame import Answer
from edgecv.camera.web.bounded import Limits
from edgecv.camera.web.guard import Guard
from edgecv.camera.web.hub import Hub
from edgecv.camera.web.serving import Address, Serving, claim

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
    address = claim(host, port, token, "prometheus_client")
    return Page(pipeline, address, limits or Limits())


class Page:
    """The page while it is served. A context manager and a sink.

    Attributes:
        url: Where it is, with the token where that was made up; one that was given stays secret.
        port: Of it.
        hub: What viewers get.
        metrics: For Prometheus.
    """

    def __init__(self, pipeline: Pipeline, address: Address, limits: Limits) -> None:
        from edgecv.camera.web.metrics import Metrics

        self._address, self._limits = address, limits
        self.port: int = address.port
        self.url: str = address.url
        self.hub: Hub = Hub(pipeline)
        self.metrics: Metrics = Metrics()
        self._serving: Serving | None = None

    def __enter__(self) -> Self:
        from edgecv.camera.web.app import build

        address = self._address
        guard = Guard(
            build(self.hub, self.metrics), bound=address.host, port=self.port, token=address.token
        )
        self.hub.__enter__()
        self._serving = Serving(guard, address, self._limits).__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.hub.__exit__()
        if self._serving is not None:
            self._serving.__exit__(None, None, None)

    def take(self, answer: Answer) -> None:
        """Show an answer, and count its times."""
        self.hub.take(answer)
        self.metrics.take(answer)
