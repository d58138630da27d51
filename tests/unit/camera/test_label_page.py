"""What the labels' page gives and takes."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_parts import COLORS, NAMES, fill, give, labeling, post
from page_client import get
from PIL import Image

from edgecv.camera.labelpage import Session, serve_labels
from edgecv.camera.web.guard import HEADERS
from edgecv.drift import AuditSampler
from edgecv.drift.audit import AuditOptions
from edgecv.drift.labeling import LABELS, NONE, accuracy, read_audit
from edgecv.errors import InputError


def state_of(page: Any) -> dict[str, Any]:
    status, _, body = get(page, "/api/state")
    assert status == 200
    found: dict[str, Any] = json.loads(body)
    return found


def test_everything_has_its_type_and_the_strict_headers(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    kinds = {
        "/": "text/html", "/label.js": "text/javascript", "/label.css": "text/css", "/style.css": "text/css",
        "/api/state": "application/json", "/api/classes": "application/json", "/picture/1": "image/png",
    }  # fmt: skip
    with labeling(tmp_path / "a") as page:
        for path, kind in kinds.items():
            status, headers, body = get(page, path)
            assert (status, headers["content-type"].split(";")[0]) == (200, kind), path
            assert body
            for name, value in HEADERS:
                assert headers[name.decode()] == value.decode()
        text = get(page, "/")[2].decode()
        assert "<style" not in text
        assert "onclick" not in text
        assert "http" not in get(page, "/label.js")[2].decode()


def test_a_label_is_on_disk_before_the_answer(tmp_path: Path) -> None:
    truth = fill(tmp_path / "a")
    with labeling(tmp_path / "a") as page:
        assert json.loads(get(page, "/api/classes")[2]) == list(NAMES)
        state = state_of(page)
        assert state["accuracy"] is None
        given: dict[str, str] = {}
        while state["current"] is not None:
            number = state["current"]["number"]
            pixels = np.asarray(Image.open(io.BytesIO(get(page, f"/picture/{number}")[2])))
            assert tuple(pixels[0, 0]) == COLORS[truth[number]]
            state = give(page, number, NAMES.index(truth[number]))
            given[f"{number:07d}.png"] = truth[number]
            assert json.loads((tmp_path / "a" / LABELS).read_text())["labels"] == given
            assert state["labeled"] == len(given)
    found = accuracy(read_audit(tmp_path / "a"))
    assert state["accuracy"] == found.as_json()
    assert found.value == pytest.approx(1 / 3)


def test_what_the_model_said_is_nowhere_unless_asked_for(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    with labeling(tmp_path / "a") as page:
        assert set(state_of(page)["current"]) == {"number"}
    with labeling(tmp_path / "a", show_answer=True) as page:
        current = state_of(page)["current"]
        assert (current["answer"], current["score"]) == ("red", 0.9)


def test_none_skip_undo_and_again(tmp_path: Path) -> None:
    fill(tmp_path / "a", 3)
    session = Session(tmp_path / "a")
    order = [f.number for f in read_audit(tmp_path / "a").waiting]
    assert session.state()["current"]["number"] == order[0]
    assert session.skip(order[0])["current"]["number"] == order[1]
    state = session.label(order[1], None)
    assert (state["labeled"], state["skipped"], state["current"]["number"]) == (1, 1, order[2])
    assert set(read_audit(tmp_path / "a").given.values()) == {NONE}
    assert session.undo()["current"]["number"] == order[1]
    assert read_audit(tmp_path / "a").given == {}
    state = session.undo()
    assert (state["current"]["number"], state["can_undo"]) == (order[0], False)
    assert session.undo()["current"]["number"] == order[0]
    for number in order:
        state = session.skip(number)
    assert (state["current"], state["skipped"]) == (None, 3)
    assert session.again()["current"]["number"] == order[0]
    session.label(order[0], 1)
    # a label that was wrong is given anew by its number
    assert session.label(order[0], 2)["labeled"] == 1
    assert list(read_audit(tmp_path / "a").given.values()) == ["blue"]


def test_a_round_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    fill(tmp_path / "a", 5)
    with labeling(tmp_path / "a") as page:
        first = state_of(page)["current"]["number"]
        following = give(page, first, 0)["current"]["number"]
    with labeling(tmp_path / "a") as page:
        state = state_of(page)
        assert (state["current"]["number"], state["labeled"]) == (following, 1)
        # of an earlier round nothing is taken back
        assert state["can_undo"] is False


def test_a_camera_may_go_on_meanwhile(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    fill(folder, 4, by_chance=4, unsure=2)
    with labeling(folder) as page:
        first = state_of(page)["current"]["number"]
        give(page, first, 0)
        options = AuditOptions(by_chance=4, unsure=2)
        with AuditSampler(folder, NAMES, "sha256:" + "5" * 64, options) as audit:
            scores = np.float32([0.9, 0, 0])
            while any(f.number <= 4 for f in read_audit(folder).frames):
                audit.offer(scores, np.zeros((24, 32, 3), np.uint8), 9.0)
                audit.save()
        assert get(page, f"/picture/{first}")[0] == 410
        status, _, body = post(page, "/api/label", {"number": first, "class": 0})
        assert status == 410
        answer = json.loads(body)
        assert "not kept any more" in answer["error"]
        assert answer["state"]["current"]["number"] > 4
        assert answer["state"]["labeled"] == 0
        give(page, answer["state"]["current"]["number"], 0)
        assert post(page, "/api/undo", {})[0] == 200


def test_done_ends_the_round(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    with labeling(tmp_path / "a") as page:
        assert not page.session.done.is_set()
        assert post(page, "/api/done", {})[0] == 200
        assert page.session.done.is_set()


def test_a_full_disk_is_said_and_the_label_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, os.strerror(28))

    fill(tmp_path / "a")
    with labeling(tmp_path / "a") as page:
        with monkeypatch.context() as patch:
            patch.setattr("edgecv.drift.labeling.write_atomically", full)
            status, _, body = post(page, "/api/label", {"number": 1, "class": 0})
        assert status == 507
        assert "No space left on device" in json.loads(body)["error"]
        assert state_of(page)["labeled"] == 0
        assert give(page, 1, 0)["labeled"] == 1


def test_a_folder_that_is_damaged_meanwhile_is_said(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    with labeling(tmp_path / "a") as page:
        (tmp_path / "a" / LABELS).write_text("[]")
        status, _, body = post(page, "/api/label", {"number": 1, "class": 0})
        assert (status, "holds no labels" in json.loads(body)["error"]) == (500, True)
        (tmp_path / "a" / "audit.json").write_text("{")
        status, _, body = get(page, "/api/state")
        assert (status, "cannot be read" in json.loads(body)["error"]) == (500, True)


def test_a_folder_that_is_no_audit_is_refused_and_the_port_is_free_again(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        serve_labels(tmp_path, port=0)


def test_an_audit_without_frames_is_served(tmp_path: Path) -> None:
    fill(tmp_path / "a", 0)
    with labeling(tmp_path / "a") as page:
        assert state_of(page) == {
            "current": None, "total": 0, "labeled": 0, "skipped": 0, "can_undo": False, "accuracy": None,
        }  # fmt: skip
