"""The measuring process itself: the protocol, and once with a real engine."""

from __future__ import annotations

import gc
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgecv.bench import BenchOptions, Cell, cell, run_cells
from edgecv.errors import InputError, ModelLoadError
from edgecv.results import Timings
from edgecv.spec.types import TensorSpec
from edgecv_runtimes.base import ExecutedLayer

LOAD = {"do": "load", "path": "m", "backend": "auto", "threads": 1, "warmup": 2, "seed": 0,
        "input": None}  # fmt: skip


class FakeRuntime:
    """Notes what it is run on, and whether garbage collection was off."""

    def __init__(
        self, spec: TensorSpec, inputs: int = 1, preprocess: Any = None, labeled: bool = False
    ) -> None:
        self.info = SimpleNamespace(
            inputs=(spec,) * inputs,
            backend="fake",
            backend_version="1",
            threads=1,
            precision="int8",
            preprocess=preprocess,
            labels=("a", "b") if labeled else (),
        )
        self.seconds = 0.0
        self.seen: list[np.ndarray] = []
        self.collecting: list[bool] = []

    def infer(self, array: np.ndarray) -> dict[str, np.ndarray]:
        self.seen.append(array)
        self.collecting.append(gc.isenabled())
        time.sleep(self.seconds)
        return {}

    def classify(self, frame: np.ndarray) -> Any:
        self.seen.append(frame)
        time.sleep(self.seconds)
        return SimpleNamespace(timings=Timings(3_000_000, 2_000_000, 1_000_000))

    def scores(self, frame: np.ndarray) -> None:
        self.seen.append(frame)

    def executed_layers(self) -> tuple[ExecutedLayer, ...]:
        return (ExecutedLayer("c", "conv", "int8"),)


def _talk(
    monkeypatch: pytest.MonkeyPatch, runtime: FakeRuntime, *requests: dict[str, Any]
) -> list[dict[str, Any]]:
    monkeypatch.setattr(cell, "_import_engine", lambda path, name: None)
    monkeypatch.setattr(cell, "_open", lambda path, request: runtime)
    replies = io.StringIO()
    cell.serve(io.StringIO("".join(json.dumps(r) + "\n" for r in requests)), replies)
    return [json.loads(line) for line in replies.getvalue().splitlines()]


INT8 = TensorSpec("input", (1, 2, 3, 3), "int8")


def test_load_run_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = FakeRuntime(INT8)
    finish = {"do": "finish"}
    loaded, block, last = _talk(
        monkeypatch, runtime, LOAD, {"do": "run", "count": 5}, finish, finish
    )
    assert len(loaded["warmup_ns"]) == 2
    assert len(block["ns"]) == 5
    assert all(ns > 0 for ns in block["ns"])
    assert block["wall_ns"] >= sum(block["ns"])
    assert len(runtime.seen) == 1 + 2 + 5
    assert last["precision"] == "int8"
    assert last["peak_rss_bytes"] > 1e6
    assert last["rss_anonymous_bytes"] + last["rss_file_bytes"] <= 1.5 * last["peak_rss_bytes"]
    assert last["layers"] == [["c", "conv", "int8"]]
    assert runtime.collecting == [True] + [False] * 7
    assert gc.isenabled()


def test_stages_are_those_of_the_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = {"do": "stages", "count": 4, "frame": [20, 30]}
    labeled = FakeRuntime(INT8, preprocess="some", labeled=True)
    [_, reply] = _talk(monkeypatch, labeled, LOAD, ask)
    assert {k: reply["stages_ns"][k] for k in ("preprocess", "infer", "postprocess")} == {
        "preprocess": 3_000_000, "infer": 2_000_000, "postprocess": 1_000_000,
    }  # fmt: skip
    assert labeled.seen[-1].shape == (20, 30, 3)
    [_, reply] = _talk(monkeypatch, FakeRuntime(INT8, preprocess="some"), LOAD, ask)
    assert list(reply["stages_ns"]) == ["end_to_end"]
    [_, reply] = _talk(monkeypatch, FakeRuntime(INT8), LOAD, ask)
    assert reply["stages_ns"] == {}


def test_a_camera_faster_than_the_model_drops_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """10 ms per answer, a frame every 4 ms: most are dropped, none is answered before it comes."""
    slow = FakeRuntime(INT8, preprocess="some", labeled=True)
    ask = {"do": "camera", "rate_hz": 250, "seconds": 0.4, "frame": [8, 8]}

    def slowly(*_: Any) -> Any:
        slow.seconds = 0.010
        return [0, 0]

    monkeypatch.setattr(cell._Cell, "_times", slowly)
    [_, reply] = _talk(monkeypatch, slow, LOAD, ask)
    assert reply["scheduled"] == 100
    answered = len(reply["latency_ns"])
    assert 5 <= answered <= 45
    assert min(reply["latency_ns"]) >= 10_000_000


def test_a_camera_slower_than_the_model_drops_none(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = {"do": "camera", "rate_hz": 20, "seconds": 0.5, "frame": [8, 8]}
    [_, reply] = _talk(monkeypatch, FakeRuntime(INT8), LOAD, ask)
    assert reply["scheduled"] == 10
    assert len(reply["latency_ns"]) >= 8  # a machine that stalls for 50 ms drops one honestly
    assert reply["wall_ns"] >= 0.45e9


@pytest.mark.parametrize(
    ("dtype", "low", "high"), [("int8", -128, 127), ("uint8", 0, 255), ("float32", 0, 1)]
)
def test_noise_fills_the_range_and_is_seeded(
    monkeypatch: pytest.MonkeyPatch, dtype: str, low: float, high: float
) -> None:
    spec = TensorSpec("input", (1, 30, 30, 3), dtype)
    first, second, third = (FakeRuntime(spec) for _ in range(3))
    _talk(monkeypatch, first, LOAD)
    _talk(monkeypatch, second, LOAD)
    _talk(monkeypatch, third, LOAD | {"seed": 1})
    array = first.seen[0]
    assert (array.shape, array.dtype.name) == (spec.shape, dtype)
    assert low <= array.min() < low + 0.02 * (high - low)
    assert high - 0.02 * (high - low) < array.max() <= high
    assert np.array_equal(array, second.seen[0])
    assert not np.array_equal(array, third.seen[0])


def test_a_given_input_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    array = np.arange(18, dtype=np.int8).reshape(1, 2, 3, 3)
    np.save(tmp_path / "x.npy", array)
    runtime = FakeRuntime(INT8)
    _talk(monkeypatch, runtime, LOAD | {"input": str(tmp_path / "x.npy")})
    assert np.array_equal(runtime.seen[0], array)


@pytest.mark.parametrize("kind", ["missing", "text", "shape", "dtype", "pickle"])
def test_inputs_that_do_not_fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.npy"
    if kind == "text":
        path.write_text("no array")
    elif kind == "shape":
        np.save(path, np.zeros((1, 3, 2, 3), np.int8))
    elif kind == "dtype":
        np.save(path, np.zeros((1, 2, 3, 3), np.float32))
    elif kind == "pickle":
        np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    [reply] = _talk(monkeypatch, FakeRuntime(INT8), LOAD | {"input": str(path)})
    assert reply["error"]["kind"] == "InputError"
    assert "x.npy" in reply["error"]["what"]
    assert reply["error"]["cure"]


def test_errors_are_answers_and_the_cell_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    early, two, good = _talk(
        monkeypatch, FakeRuntime(INT8, inputs=2), {"do": "run", "count": 1}, LOAD, {"do": "finish"}
    )
    assert early["error"]["what"] == "nothing is loaded"
    assert "has 2 inputs" in two["error"]["what"]
    assert "peak_rss_bytes" in good


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A tiny float ONNX classifier."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, [27, 4], np.ones(108, np.float32))
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["input"], ["flat"]),
         helper.make_node("MatMul", ["flat", "w"], ["logits"])],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 3, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 4])],
        [weight],
    )  # fmt: skip
    path = tmp_path / "tiny.onnx"
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path


def test_a_real_engine_in_fresh_processes(model: Path) -> None:
    cells = [Cell("one", model), Cell("two", model, "onnxruntime")]
    result = run_cells(cells, BenchOptions(blocks=2, runs=60, warmup=3))
    for record in result.records:
        assert record.backend == "onnxruntime"
        assert record.threads == 1
        assert record.p50.n == 60
        assert min(record.import_ms, record.load_ms, record.first_ms, record.p50.value) > 0
        assert record.peak_rss_bytes > 10_000_000
        assert record.executed_precision
    json.dumps(result.environment, allow_nan=False)


def test_a_bad_file_is_the_runtimes_own_error(tmp_path: Path) -> None:
    (tmp_path / "bad.tflite").write_bytes(b"hello")
    with pytest.raises(ModelLoadError, match="bad one"):
        run_cells([Cell("bad one", tmp_path / "bad.tflite")])
    with pytest.raises(ModelLoadError, match="cannot be read"):
        run_cells([Cell("none", tmp_path / "none.tflite")])


def test_a_wrong_input_is_refused_before_anything_is_timed(model: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 3, 4, 3), np.float32))
    with pytest.raises(InputError, match=r"wants float32 \[1, 3, 3, 3\]"):
        run_cells([Cell("x", model, input=tmp_path / "x.npy")])


def test_prints_of_an_engine_do_not_mix_with_answers(tmp_path: Path) -> None:
    code = """
import os, edgecv.bench.cell as cell
def noisy(path, name): os.write(1, b"ENGINE BANNER\\n"); print("python banner", flush=True)
cell._import_engine = noisy
def refuse(path, request): raise cell.InputError("stop here", cure="-")
cell._open = refuse
cell.main()
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        input=json.dumps(LOAD) + "\n",
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=dict(os.environ),
    )
    assert json.loads(done.stdout)["error"]["what"] == "stop here"
    assert "ENGINE BANNER" in done.stderr
    assert "python banner" in done.stderr


def test_a_file_named_like_a_library_is_not_imported(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('imported from the current folder')")
    monkeypatch.chdir(tmp_path)
    assert run_cells([Cell("x", model)], BenchOptions(blocks=1, runs=50)).records
