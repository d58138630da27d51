"""The proof on a board: what is shown, what this machine cannot show, what fails."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from boards import machine as board
from click.testing import CliRunner
from PIL import Image

from edgecv.board.probe import Fact, Machine, absent
from edgecv.cli import cli
from edgecv.errors import InputError
from edgecv.selftest.frame import grab_frame
from edgecv.selftest.proof import _camera, _heat, _memory, _speed, prove


def _result(**changes: Any) -> Any:
    record = SimpleNamespace(
        cell=SimpleNamespace(name="litert"),
        p50=SimpleNamespace(value=1.5),
        p99=SimpleNamespace(value=2.0),
        peak_rss_bytes=58 * 2**20,
        samples_ns=((1, 2), (3,)),
    )
    trace = {"temperature_c": [48.0, 61.5, 60.0], "throttled": [0, 0, 0]}
    fields = {"records": (record,), "valid": True, "reasons": (), "trace": trace, **changes}
    return SimpleNamespace(**fields)


def test_speed() -> None:
    shown = _speed(_result())
    assert (shown.state, shown.found) == (
        "shown",
        "litert p50 1.500 ms, p99 2.000 ms; 3 inferences",
    )
    busy = _speed(_result(valid=False, reasons=("The load was 9.",)))
    assert busy.state == "not shown"
    assert "not to be trusted: The load was 9." in busy.found


@pytest.mark.parametrize(
    ("name", "reasons", "state"),
    [
        ("zero2", (), "shown"),
        ("zero2", ("12 pages were swapped in.",), "failed"),
        ("pi5", (), "not shown"),
    ],
)
def test_memory(tmp_path: Path, name: str, reasons: tuple[str, ...], state: str) -> None:
    claim = _memory(_result(reasons=reasons), board(tmp_path, name))
    assert claim.state == state
    assert "peak 58 MiB of" in claim.found


@pytest.mark.parametrize(
    ("trace", "state", "says"),
    [
        ({"temperature_c": [48.0, 61.5], "throttled": [0x50000]}, "shown", "48.0 to 61.5"),
        ({"temperature_c": [48.0, 61.5], "throttled": [0, 4, 0]}, "failed", "now: throttled"),
        ({"temperature_c": [60.0, 84.0], "throttled": [0]}, "failed", "too hot"),
        (
            {"temperature_c": [60.0], "throttled": [None]},
            "not shown",
            "does not tell of throttling",
        ),
        ({"temperature_c": [None], "throttled": [0]}, "shown", "no thermal zone"),
    ],
)
def test_heat(trace: dict[str, Any], state: str, says: str) -> None:
    claim = _heat(_result(trace=trace))
    assert claim.state == state
    assert says in claim.found


def test_a_frame_that_shows_nothing_fails() -> None:
    claim = _camera(Fact(np.full((480, 640, 3), 3, np.uint8)), Path("unused"), "litert")
    assert claim.state == "failed"
    assert "lens cap" in claim.found
    assert _camera(absent("no camera"), Path("unused"), "litert").found == "no camera"


class TestFrame:
    def _machine(self, root: Path, answer: Any) -> Machine:
        def run(words: list[str], **_: Any) -> Any:
            return answer(words)

        return Machine(root, run=run)

    def test_of_the_boards_own_program(self, tmp_path: Path) -> None:
        def answer(words: list[str]) -> Any:
            if words[0] != "libcamera-still":
                raise FileNotFoundError
            Image.new("RGB", (640, 480), (200, 40, 0)).save(words[words.index("-o") + 1])
            return subprocess.CompletedProcess(words, 0, "", "")

        frame = grab_frame(self._machine(tmp_path, answer))
        assert frame.value is not None
        assert frame.value.shape == (480, 640, 3)
        assert frame.value[0, 0, 0] > 190 > frame.value[0, 0, 1]

    @pytest.mark.parametrize(
        ("answer", "says"),
        [
            (lambda words: subprocess.CompletedProcess(words, 255, "", "*** no cameras available ***"),
             "no cameras available"),
            (lambda words: subprocess.CompletedProcess(words, 0, "", ""), "no frame"),
            (lambda words: (_ for _ in ()).throw(subprocess.TimeoutExpired(words, 20)),
             "gave no frame within 20 s"),
            (lambda words: (_ for _ in ()).throw(PermissionError(13, "Permission denied")),
             "Permission denied"),
            (lambda words: (_ for _ in ()).throw(FileNotFoundError()), "is not installed"),
        ],
    )  # fmt: skip
    def test_why_there_is_none(self, tmp_path: Path, answer: Any, says: str) -> None:
        frame = grab_frame(self._machine(tmp_path, answer))
        assert frame.value is None
        assert says in frame.reason
        assert "the kernel lists no video device" in frame.reason

    def test_a_broken_picture(self, tmp_path: Path) -> None:
        def answer(words: list[str]) -> Any:
            Path(words[words.index("-o") + 1]).write_bytes(b"\xff\xd8\xff\xe0broken")
            return subprocess.CompletedProcess(words, 0, "", "")

        assert "rpicam-still: " in grab_frame(self._machine(tmp_path, answer)).reason


def test_on_this_machine() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    proof = prove(("litert",), seconds=0.2, grab=lambda _: Fact(frame))
    states = {claim.name: claim.state for claim in proof.claims}
    assert list(states) == ["answers", "speed", "memory", "heat", "camera"]
    assert states["answers"] == states["camera"] == "shown"
    document = json.loads(json.dumps(proof.to_json()))
    [record] = document["bench"]
    assert record["engine"]["backend"] == "litert"
    assert record["samples_ns"] == []
    assert record["latency_ms"]["p50"]["value"] > 0
    assert document["board"]["facts"]["usable_cores"] >= 1


def test_the_command(tmp_path: Path) -> None:
    path = tmp_path / "board.json"
    words = ["selftest", "--backend", "litert", "--report", str(path), "--seconds", "0.2"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    assert "answers" in done.output
    assert "not shown" in done.output, "there is no camera here"
    before = path.read_bytes()
    refused = CliRunner().invoke(cli, words)
    assert isinstance(refused.exception, InputError)
    assert "--overwrite" in refused.exception.cure
    assert path.read_bytes() == before
