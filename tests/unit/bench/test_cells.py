"""The parent side of measuring, with processes that misbehave in every way."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from pathlib import Path

import pytest

from edgecv.bench import BenchOptions, Cell, run_cells
from edgecv.bench.process import CellProcess
from edgecv.errors import EdgecvError, InputError, InvalidMeasurementError, ModelLoadError

#: A cell without an engine: the latency is in the file's name, requests are written to a log.
FAKE = """
import json, os, sys
log = open(os.environ["CELL_LOG"], "a")
for line in sys.stdin:
    request = json.loads(line)
    log.write(json.dumps([os.getpid(), request.get("do"), request.get("path"), request.get("count"),
                          os.environ.get("OMP_NUM_THREADS"),
                          os.environ.get("PYTHONDONTWRITEBYTECODE")]) + "\\n")
    log.flush()
    if request["do"] == "load":
        typical = int(os.path.basename(request["path"]))
        reply = {"import_ns": 5_000_000, "load_ns": 7_000_000, "first_ns": 3 * typical,
                 "warmup_ns": [typical] * request["warmup"], "backend": "fake",
                 "backend_version": "1", "threads": request["threads"]}
    elif request["do"] == "run":
        ns = [typical + k for k in range(request["count"])]
        reply = {"ns": ns, "cpu_ns": sum(ns) // 2, "wall_ns": sum(ns)}
    else:
        reply = {"peak_rss_bytes": 50_000_000, "precision": "int8"}
    print(json.dumps(reply), flush=True)
"""


def _command(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", textwrap.dedent(code))


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "log"
    monkeypatch.setenv("CELL_LOG", str(path))
    return path


def _requests(log: Path) -> list[list[object]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_records_come_from_the_samples(log: Path, tmp_path: Path) -> None:
    cells = [Cell("a", tmp_path / "1000000"), Cell("b", tmp_path / "2000000")]
    result = run_cells(cells, BenchOptions(blocks=4, runs=400, warmup=3), command=_command(FAKE))
    assert [record.cell for record in result.records] == cells
    first = result.records[0]
    assert (first.import_ms, first.load_ms, first.first_ms) == (5.0, 7.0, 3.0)
    assert first.p50.value == pytest.approx(1.000049, abs=1e-6)
    assert first.p50.low <= first.p50.value <= first.p90.value <= first.p99.value
    assert first.p50.n == 400
    assert len(first.block_p50_ms) == 4
    assert first.cpu_share == pytest.approx(0.5, abs=0.01)
    assert (first.peak_rss_bytes, first.executed_precision) == (50_000_000, "int8")
    assert result.records[1].p50.value == pytest.approx(2.000049, abs=1e-6)
    json.dumps(result.environment, allow_nan=False)
    # the fake says that it had a processor half of the time
    assert not result.valid
    assert "a had a processor for only 50 % of its time." in result.reasons


def test_one_process_per_cell_with_equal_threads_and_interleaved_blocks(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    cells = [Cell(str(k), tmp_path / f"{k}00000") for k in (1, 2, 3)]
    options = BenchOptions(blocks=8, runs=80, seed=1, threads=1)
    run_cells(cells, options, command=_command(FAKE))
    requests = _requests(log)
    assert {row[4] for row in requests} == {"1"}
    assert {row[5] for row in requests} == {None}
    timed = [row for row in requests if row[1] == "run"]
    assert len({row[0] for row in timed}) == 3
    rounds = [tuple(row[0] for row in timed[k : k + 3]) for k in range(0, 24, 3)]
    assert all(len(set(r)) == 3 for r in rounds)  # every cell once per round
    assert len(set(rounds)) > 1  # in changing order
    # the processes that warm the disk cache measure nothing
    assert len({row[0] for row in requests}) == 6


def test_the_seed_decides_the_order(log: Path, tmp_path: Path) -> None:
    cells = [Cell(str(k), tmp_path / f"{k}00000") for k in (1, 2, 3)]
    orders = []
    for seed in (1, 1, 2):
        log.write_text("")
        run_cells(cells, BenchOptions(blocks=6, runs=60, seed=seed), command=_command(FAKE))
        rows = _requests(log)
        name_of = {row[0]: row[2] for row in rows if row[1] == "load"}
        orders.append([name_of[row[0]] for row in rows if row[1] == "run"])
    assert orders[0] == orders[1] != orders[2]


def test_slow_models_get_fewer_runs_but_never_too_few(log: Path, tmp_path: Path) -> None:
    cells = [Cell("slow", tmp_path / "100000000"), Cell("slower", tmp_path / "9000000000")]
    options = BenchOptions(blocks=5, runs=1000, max_seconds=10)
    result = run_cells(cells, options, command=_command(FAKE))
    assert [record.p50.n for record in result.records] == [100, 50]


class TestFailures:
    def _run(self, code: str, tmp_path: Path, **options: float) -> None:
        chosen = BenchOptions(timeout_s=options.get("timeout_s", 20))
        run_cells([Cell("poor cell", tmp_path / "m.tflite")], chosen, command=_command(code))

    def test_a_dead_process_tells_its_last_words(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidMeasurementError, match="poor cell") as caught:
            self._run("import sys; sys.stdin.readline(); sys.exit('engine fell over')", tmp_path)
        assert "ended with code 1" in str(caught.value)
        assert "engine fell over" in str(caught.value)
        assert caught.value.exit_code == 3

    def test_a_crash_names_the_signal(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidMeasurementError, match="ended by signal 6"):
            self._run("import os, sys; sys.stdin.readline(); os.kill(os.getpid(), 6)", tmp_path)

    def test_a_process_that_dies_before_it_is_asked(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidMeasurementError, match="ended with code 7"):
            self._run("raise SystemExit(7)", tmp_path)

    def test_a_silent_process_is_ended(self, tmp_path: Path, log: Path) -> None:
        code = "import os, time; open(os.environ['CELL_LOG'], 'w').write(str(os.getpid())); time.sleep(60)"
        with pytest.raises(InvalidMeasurementError, match=r"no answer within 1 s"):
            self._run(code, tmp_path, timeout_s=1)
        with pytest.raises(ProcessLookupError):
            os.kill(int(log.read_text()), 0)

    @pytest.mark.parametrize("words", ["hello", "[1]", "7"])
    def test_nonsense_is_quoted(self, tmp_path: Path, words: str) -> None:
        with pytest.raises(InvalidMeasurementError, match="answered b'"):
            self._run(f"import sys; sys.stdin.readline(); print('{words}')", tmp_path)

    def test_errors_keep_their_kind_and_cure(self, tmp_path: Path) -> None:
        code = """
            import sys; sys.stdin.readline()
            print('{"error": {"kind": "ModelLoadError", "what": "bad file", "cure": "Get another."}}')
        """
        with pytest.raises(ModelLoadError, match="poor cell: bad file") as caught:
            self._run(code, tmp_path)
        assert caught.value.cure == "Get another."

    def test_an_unknown_kind_is_still_an_edgecv_error(self, tmp_path: Path) -> None:
        code = """
            import sys; sys.stdin.readline()
            print('{"error": {"kind": "NewerError", "what": "x", "cure": "y"}}')
        """
        with pytest.raises(EdgecvError, match="poor cell: x"):
            self._run(code, tmp_path)

    def test_much_talk_on_stderr_does_not_block(self, tmp_path: Path) -> None:
        code = """
            import sys; sys.stdin.readline()
            sys.stderr.write("x" * 3_000_000); sys.stderr.flush()
            print('{"answer": 1}')
        """
        cell = Cell("talker", tmp_path / "m")
        with CellProcess(cell, threads=1, timeout_s=20, command=_command(code)) as process:
            assert process.ask({"do": "anything"}) == {"answer": 1}


@pytest.mark.parametrize(
    ("names", "message"), [([], "empty or repeated"), (["a", "a"], "empty or repeated")]
)
def test_cells_need_names(names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run_cells([Cell(name, Path("x")) for name in names])


@pytest.mark.parametrize(
    "options",
    [
        {"threads": 0},
        {"blocks": 0},
        {"warmup": 0},
        {"runs": 10},
        {"max_seconds": 0},
        {"timeout_s": -1},
    ],
)
def test_options_are_checked(options: dict[str, int]) -> None:
    with pytest.raises(InputError):
        BenchOptions(**options)
