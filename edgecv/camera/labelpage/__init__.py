"""A page in the browser for labeling the frames of an audit. Needs the extra ``[camera]``."""

from __future__ import annotations

from edgecv.camera.labelpage.page import LabelPage, serve_labels
from edgecv.camera.labelpage.session import GoneError, Session

__all__ = ["GoneError", "LabelPage", "Session", "serve_labels"]
