"""Recorded answers: the same as the engine's, on a machine without it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cases import CASES, sealed

from edgecv import artifact
from edgecv.errors import InputError, ModelLoadError, UnsupportedError
from edgecv.runtime import Runtime
from edgecv_runtimes.registry import choose
from edgecv_runtimes.replay import record, recording_path

CASE = next(case for case in CASES if str(case) == "litert-tflite-int8")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    body = sealed("tflite", "int8")
    assert isinstance(body, bytes)
    path = tmp_path / "tiny.int8.tflite"
    path.write_bytes(body)
    return path


def _record(model: Path, seeds: range) -> list[np.ndarray]:
    with CASE.open() as runtime:
        feeds = [CASE.feed(runtime, seed) for seed in seeds]
    backend = choose("litert", "tflite")(artifact.read(model), threads=1)
    assert record(backend, model, ({"input": feed} for feed in feeds)) == recording_path(model)
    backend.close()
    return feeds


def test_the_same_answers(model: Path) -> None:
    feeds = _record(model, range(3))
    with Runtime(model) as real, Runtime(model, backend="replay") as replayed:
        assert replayed.info.precision == "recorded"
        for feed in feeds:
            assert np.array_equal(replayed.infer(feed)["logits"], real.infer(feed)["logits"])
        together = replayed.infer(np.concatenate(feeds))["logits"]
        assert np.array_equal(together, real.infer(np.concatenate(feeds))["logits"])


def test_what_was_not_recorded_is_an_error(model: Path) -> None:
    _record(model, range(1))
    with CASE.open() as runtime:
        other = CASE.feed(runtime, 7)
    with (
        Runtime(model, backend="replay") as replayed,
        pytest.raises(InputError, match="holds no answer"),
    ):
        replayed.infer(other)


def test_answers_belong_to_the_caller(model: Path) -> None:
    [feed] = _record(model, range(1))
    with Runtime(model, backend="replay") as replayed:
        first = replayed.infer(feed)["logits"]
        kept = first.copy()
        first[...] = 0
        assert np.array_equal(replayed.infer(feed)["logits"], kept)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04damaged", b"\x93NUMPY", b"x" * 500])
def test_a_recording_that_cannot_be_read(model: Path, content: bytes | None) -> None:
    if content is not None:
        recording_path(model).write_bytes(content)
    with pytest.raises(ModelLoadError, match=r"its recording .* cannot be read"):
        Runtime(model, backend="replay")


def test_without_a_path(model: Path) -> None:
    with pytest.raises(UnsupportedError, match="needs the path"):
        Runtime(model.read_bytes(), backend="replay")
