"""The page while it is served."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from edgecv.camera.labelpage.session import Session
from edgecv.camera.web.bounded import Limits
from edgecv.camera.web.guard import Guard
from edgecv.camera.web.serving import Address, Serving, claim

__all__ = ["LabelPage", "serve_labels"]


def serve_labels(
    folder: Path,
    host: str = "127.0.0.1",
    port: int = 8081,
    token: str | None = None,
    *,
    show_answer: bool = False,
    limits: Limits | None = None,
) -> LabelPage:
    """A page on which people label the frames in *folder*; enter it to start.

    Args:
        folder: Of an audit (:class:`~edgecv.drift.AuditSampler`).
        host: Address to listen on. Beyond this machine a token is needed.
        port: 0 for any that is free.
        token: Word that is needed; made up where one is needed and none is given.
        show_answer: Show what the model said.
        limits: What a client may cost.

    Raises:
        MissingExtraError: The extra ``[camera]`` is not installed.
        InputError: No audit, a damaged one, the address cannot be had, or the token is too short.
    """
    address = claim(host, port, token)
    try:
        session = Session(folder, show_answer=show_answer)
    except BaseException:
        address.listener.close()
        raise
    return LabelPage(session, address, limits or Limits())


class LabelPage:
    """The page while it is served. A context manager.

    Attributes:
        url: Where it is, with the token where that was made up; one that was given stays secret.
        port: Of it.
        session: What is labeled.
    """

    def __init__(self, session: Session, address: Address, limits: Limits) -> None:
        from edgecv.camera.labelpage.app import POSTS, build

        self.url: str = address.url
        self.port: int = address.port
        self.session: Session = session
        guard = Guard(
            build(session),
            bound=address.host,
            port=address.port,
            token=address.token,
            posts=POSTS,
            title="edgecv labels",
        )
        self._serving = Serving(guard, address, limits)

    def __enter__(self) -> Self:
        self._serving.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._serving.__exit__(kind, error, trace)
