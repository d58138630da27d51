"""A window of the desktop, by OpenCV."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from edgecv.camera.frame import Answer
from edgecv.errors import MissingExtraError, UnsupportedError, require

if TYPE_CHECKING:
    from edgecv.camera.pipeline import Pipeline

__all__ = ["WindowView"]

_TITLE = "edgecv camera (q ends)"


class WindowView:
    """Shows every answered frame with its answer; the key q ends the pipeline. A context manager, a sink.

    Args:
        pipeline: What is ended by q.

    Raises:
        MissingExtraError: OpenCV is not installed, or is the headless build.
        UnsupportedError: There is no desktop.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        require("cv2", extra="opencv-window")
        self._pipeline = pipeline
        self._cv2: Any = importlib.import_module("cv2")

    def __enter__(self) -> Self:
        try:
            self._cv2.namedWindow(_TITLE, getattr(self._cv2, "WINDOW_NORMAL", 0))
        except self._cv2.error as error:
            if "not implemented" in str(error):
                raise MissingExtraError(
                    "this OpenCV is the headless build, which has no windows",
                    cure="pip uninstall opencv-python-headless; pip install 'edgecv[opencv-window]'",
                ) from error
            raise UnsupportedError(
                f"no window can be opened: {str(error).strip()[:120]}",
                cure="Use --view web or terminal.",
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._cv2.destroyAllWindows()

    def take(self, answer: Answer) -> None:
        """Show a frame."""
        cv2, top = self._cv2, answer.classification.top
        picture = np.ascontiguousarray(answer.frame.shot.pixels[..., ::-1])
        if picture.shape[0] < 240:
            factor = -(-240 // picture.shape[0])
            picture = picture.repeat(factor, 0).repeat(factor, 1)
        text = f"{top.label} {top.score:.2f}"
        for color, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(picture, text, (8, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.6, color, width)
        cv2.imshow(_TITLE, picture)
        if cv2.waitKey(1) & 0xFF == ord("q"):
            self._pipeline.stop()
