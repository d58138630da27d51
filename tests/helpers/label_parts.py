"""An audit of a few colored pictures, a page that labels it, and clients that speak to it by hand."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgecv.camera.labelpage import LabelPage, serve_labels
from edgecv.camera.web.bounded import Limits
from edgecv.drift import AuditSampler
from edgecv.drift.audit import AuditOptions

COLORS = {"red": (200, 30, 30), "green": (30, 170, 40), "blue": (40, 60, 210)}
NAMES = tuple(COLORS)
IDENTITY = "sha256:" + "5" * 64


def fill(
    folder: Path, count: int = 6, names: tuple[str, ...] = NAMES, **options: Any
) -> dict[int, str]:
    """An audit whose every picture is of one color; number of the picture → its color.

    The model says "red" of all.
    """
    truth = {}
    with AuditSampler(
        folder, names, IDENTITY, AuditOptions(**{"by_chance": 50, **options})
    ) as audit:
        scores = np.zeros(len(names), np.float32)
        scores[0] = 0.9
        for number in range(count):
            name = NAMES[number % 3]
            frame = np.full((24, 32, 3), COLORS[name], np.uint8)
            audit.offer(scores, frame, float(number))
            truth[number + 1] = name
    return truth


@contextlib.contextmanager
def labeling(
    folder: Path, token: str | None = None, *, show_answer: bool = False, **limits: Any
) -> Iterator[LabelPage]:
    with serve_labels(
        folder, port=0, token=token, show_answer=show_answer, limits=Limits(**limits)
    ) as page:
        yield page


def post(
    page: LabelPage, path: str, values: Any, method: str = "POST", **headers: str | None
) -> tuple[int, dict[str, str], bytes]:
    """As the page itself posts; a header of None is left out."""
    body = values if isinstance(values, bytes) else json.dumps(values).encode()
    given = {
        "Origin": f"http://127.0.0.1:{page.port}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
    try:
        connection.putrequest(method, path)
        for name, value in given.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()
    finally:
        connection.close()


def give(page: LabelPage, number: int, index: int | None) -> dict[str, Any]:
    """A label, and the state after it."""
    status, _, body = post(page, "/api/label", {"number": number, "class": index})
    assert status == 200, body
    state: dict[str, Any] = json.loads(body)
    return state
