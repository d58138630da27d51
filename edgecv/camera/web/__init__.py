"""The page: Starlette on uvicorn, with limits of our own. Needs the extra ``[camera]``."""

from __future__ import annotations

from edgecv.camera.web.server import Page, serve

__all__ = ["Page", "serve"]
