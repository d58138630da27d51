"""The wheel on Arm, without a board: what a workstation evaluates is what the board answers.

Run by ``make test-arm64``. Needs a Debian machine with network. Times measured here
mean nothing, and edgecv has to say so.
"""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import PROJECT, run_there
from roots import Root

from edgecv.artifact import seal

pytestmark = [pytest.mark.arm]
BOARDS = ("zero2", "pi4", "pi5")


@pytest.fixture(scope="session")
def answers(
    work: Path, job: Path, bookworm: Root, trixie: Root, host: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Every board's, and this machine's."""
    views = {board: bookworm.view(board) for board in BOARDS}
    views["pi5-trixie"] = trixie.view("pi5")
    with ThreadPoolExecutor(2) as pool:
        waiting = {
            name: pool.submit(run_there, root, job, work / f"{name}.npz")
            for name, root in views.items()
        }
    return {"host": host, **{name: future.result() for name, future in waiting.items()}}


def _both(answers: dict[str, Any], board: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    return answers[board][name].astype(np.float64), answers["host"][name].astype(np.float64)


ALL = (*BOARDS, "pi5-trixie")


@pytest.mark.parametrize("board", ALL)
def test_it_is_arm(answers: dict[str, Any], board: str) -> None:
    facts = answers[board]["facts"]
    assert facts["machine"] == "aarch64"
    assert facts["python"].startswith("3.13" if "trixie" in board else "3.11")


@pytest.mark.parametrize("board", ALL)
def test_preprocessing_is_equal(answers: dict[str, Any], board: str) -> None:
    assert np.array_equal(answers[board]["pixels"], answers["host"]["pixels"])


@pytest.mark.parametrize("board", ALL)
def test_litert_int8_is_equal_without_islands(answers: dict[str, Any], board: str) -> None:
    there, here = _both(answers, board, "digits/litert")
    assert np.array_equal(there, here)
    assert len(np.unique(here.argmax(1))) > 1


@pytest.mark.parametrize("board", ALL)
def test_litert_int8_with_islands(answers: dict[str, Any], board: str, job: Path) -> None:
    """Every tensor from the reference's integers, at most one step away."""
    worst, elements, off = 0, 0, 0
    [row] = json.loads((job / "job.json").read_text())["lessons"]
    assert row["count"] > 100
    for number in range(row["count"]):
        with np.load(job / f"{row['name']}.{number}.npz", allow_pickle=False) as content:
            wanted = content["wanted"].astype(np.int64)
        there = answers[board][f"{row['name']}/{number}"].astype(np.int64)
        difference = np.abs(there.reshape(-1) - wanted.reshape(-1))
        worst, elements, off = (
            max(worst, int(difference.max())),
            elements + difference.size,
            off + int((difference > 0).sum()),
        )
    print(f"{board}: max {worst} LSB, {off} of {elements} elements differ")
    assert worst <= 1
    there, here = _both(answers, board, "mobilevit-int8/litert")
    assert (there.argmax(1) == here.argmax(1)).mean() >= 0.995


@pytest.mark.parametrize("board", ALL)
@pytest.mark.parametrize("engine", ["litert", "onnxruntime", "openvino"])
def test_float_is_equal_to_a_rounding(answers: dict[str, Any], board: str, engine: str) -> None:
    if engine == "openvino" and "trixie" in board:
        return  # not installed in that root
    there, here = _both(answers, board, f"mobilevit-float32/{engine}")
    assert np.abs(there - here).max() <= 1e-5 * np.ptp(here)


@pytest.mark.parametrize("board", ALL)
def test_onnxruntime_int8(answers: dict[str, Any], board: str) -> None:
    """Optimized it computes in integers; as it stands, in float, whose sums are ordered by the processor."""
    there, here = _both(answers, board, "digits/onnxruntime")
    assert np.array_equal(there, here)
    step = np.diff(np.unique(here)).min()
    there, here = _both(answers, board, "digits/onnxruntime/unoptimized")
    assert np.abs(there - here).max() <= 1.001 * step
    assert np.array_equal(there.argmax(1), here.argmax(1))


@pytest.mark.parametrize("board", BOARDS)
def test_openvino_int8(answers: dict[str, Any], board: str) -> None:
    """Which layers are int8 depends on core and release; where none are, it is said."""
    there, here = _both(answers, board, "digits/openvino")
    facts = answers[board]["facts"]["digits/openvino"]
    print(f"{board}: {facts['precision']}: {facts['layers']}")
    assert np.abs(there - here).max() <= 0.06 * np.ptp(here)
    assert (there.argmax(1) == here.argmax(1)).mean() >= 0.99
    assert len(facts["layers"]) >= 5


@pytest.mark.parametrize("board", ALL)
def test_unsigned_models(answers: dict[str, Any], board: str, outside_data: Path) -> None:
    there, here = (answers[b]["uint8/litert"] for b in (board, "host"))
    steps = np.abs(there - here).max() / np.diff(np.unique(here)).min()
    print(f"{board}: at most {steps:.0f} levels")
    assert steps <= (8.01 if board == "zero2" else 0)
    assert np.array_equal(there.argmax(1), here.argmax(1))


class TestCommands:
    """The command line on a Raspberry Pi 5."""

    def _edgecv(self, root: Root, *words: str | Path) -> tuple[int, str]:
        done = root.python("-c", "from edgecv.cli import main; main()", *words)
        return done.returncode, done.stdout + done.stderr

    @pytest.fixture(autouse=True)
    def _pi5(self, bookworm: Root) -> None:
        bookworm.board("pi5")

    def test_board(self, bookworm: Root) -> None:
        code, said = self._edgecv(bookworm, "board")
        assert code == 0, said
        assert "Raspberry Pi 5 Model B Rev 1.0" in said
        assert "4 x Cortex-A76 (0xd0b)" in said
        assert "memory                8052 MiB" in said
        assert "64-bit programs on aarch64" in said
        assert "This processor is emulated" in said
        assert "asimddp" in said

    def test_info_and_predict(self, bookworm: Root, job: Path, work: Path) -> None:
        from PIL import Image

        code, said = self._edgecv(bookworm, "info", job / "digits.int8.tflite")
        assert code == 0, said
        assert "int8" in said
        picture = work / "digit.png"
        Image.fromarray(np.zeros((40, 30, 3), np.uint8)).save(picture)
        code, said = self._edgecv(
            bookworm, "predict", job / "digits.int8.tflite", picture, "--json"
        )
        assert code == 0, said
        assert json.loads(said[said.index("{") : said.rindex("}") + 1])["predictions"]

    def test_evaluate(self, bookworm: Root, job: Path, work: Path) -> None:
        from PIL import Image

        from edgecv.selftest.bundle import load_bundle

        bundle = load_bundle()
        folder = work / "digits"
        shutil.rmtree(folder, ignore_errors=True)
        for number, (picture, label) in enumerate(zip(bundle.pictures, bundle.labels, strict=True)):
            path = folder / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
        code, said = self._edgecv(
            bookworm, "evaluate", job / "digits.int8.tflite", "--data", folder
        )
        assert code == 0, said
        assert "100" in said

    def test_selftest(self, bookworm: Root) -> None:
        code, said = self._edgecv(bookworm, "selftest", "--backend", "litert")
        assert code == 0, said
        assert "20 of 20 digits, integers as recorded" in said
        assert "Latency is not to be trusted" in said
        assert "emulated" in said

    def test_bench_claims_nothing_under_emulation(
        self, bookworm: Root, job: Path, work: Path
    ) -> None:
        out = work / "bench"
        shutil.rmtree(out, ignore_errors=True)
        code, said = self._edgecv(
            bookworm, "bench", "run", job / "digits.int8.tflite", "--runs", "50", "--seconds", "0.3", "--out", out
        )  # fmt: skip
        assert code == 3, said
        assert "emulated" in said
        [record] = [json.loads(path.read_text()) for path in out.glob("*.json")]
        assert record["validity"]["valid"] is False
        assert record["board"]["facts"]["model"] == "Raspberry Pi 5 Model B Rev 1.0"

    def test_person_detect_is_refused_with_a_reason(
        self, bookworm: Root, outside_data: Path
    ) -> None:
        code, said = self._edgecv(bookworm, "info", outside_data / "models/person_detect.tflite")
        assert code == 2
        assert "scales along axis 3, which it does not have; LiteRT refuses" in said


def test_armhf(armhf: Root, job: Path, work: Path, host: dict[str, Any]) -> None:
    """32 bits: the legacy engine, Debian's NumPy 1 and Pillow 9."""
    armhf.board("pi4")
    content = json.loads((job / "job.json").read_text())
    litert = [row for row in content["models"] if row["backend"] == "litert"]
    other = work / "job-armhf"
    shutil.rmtree(other, ignore_errors=True)
    shutil.copytree(job, other)
    (other / "job.json").write_text(json.dumps({"models": litert, "lessons": []}))
    found = run_there(armhf, other, work / "armhf.npz")
    assert found["facts"]["errors"] == {}
    assert "tflite-runtime" in found["facts"]["digits/litert"]["version"]
    assert np.array_equal(found["pixels"], host["pixels"])
    for name in ("digits/litert", "mobilevit-int8/litert"):
        same = (found[name].argmax(1) == host[name].argmax(1)).mean()
        print(f"armhf {name}: top-1 agreement {same:.3f}")
        assert same >= 0.9


class TestNegativeControls:
    """What must fail, in the way it is named."""

    def test_a_flipped_weight_byte(
        self, bookworm: Root, job: Path, work: Path, host: dict[str, Any]
    ) -> None:
        """Digests made anew, so that only the comparison can see it."""
        from edgecv import artifact

        bookworm.board("pi5")
        other = work / "job-flipped"
        shutil.rmtree(other, ignore_errors=True)
        shutil.copytree(job, other)
        path = other / "digits.int8.tflite"
        file = artifact.read(path)
        body = bytearray(file.body)
        body[_largest_constant(file.body) + 40] ^= 0x40
        assert file.manifest is not None
        path.write_bytes(seal("tflite", bytes(body), None, file.manifest))
        content = json.loads((job / "job.json").read_text())
        rows = [row for row in content["models"] if row["name"] == "digits/litert"]
        (other / "job.json").write_text(json.dumps({"models": rows, "lessons": []}))
        found = run_there(bookworm, other, work / "flipped.npz")
        assert not np.array_equal(found["digits/litert"], host["digits/litert"])

    def test_instructions_that_the_core_has_not(
        self, bookworm: Root, job: Path, work: Path
    ) -> None:
        """A Pi 5's features on a Pi 4's core: the dot product traps (SIGILL)."""
        bookworm.board("pi5")
        bookworm.emulated_core = "cortex-a72"
        try:
            done = bookworm.python(
                "-c",
                "import sys; from edgecv.runtime import Runtime; import numpy as np\n"
                "r = Runtime(sys.argv[1]); [s] = r.info.inputs\n"
                "r.infer(np.zeros(s.shape, s.dtype))",
                job / "digits.int8.tflite",
            )
        finally:
            bookworm.emulated_core = None
        assert done.returncode in (132, -4), (done.returncode, done.stderr)

    def test_numpy_2_with_tflite_runtime(self, bookworm: Root, work: Path) -> None:
        bookworm.board("pi5")
        extra = bookworm.root / "legacy"
        if not extra.exists():
            done = bookworm.pip("install", "-q", "--no-deps", "--only-binary=:all:",
                                "--target", extra, "tflite-runtime==2.14.0")  # fmt: skip
            assert done.returncode == 0, done.stderr
        done = bookworm.python(
            "-c",
            "import sys\n"
            "class Blocked:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            "        if name == 'ai_edge_litert': raise ModuleNotFoundError(name, name=name)\n"
            "sys.meta_path.insert(0, Blocked())\n"
            "from edgecv_runtimes.quiet import import_litert\n"
            "from edgecv.errors import EdgecvError\n"
            "try: import_litert()\nexcept EdgecvError as error: print(error)",
            path=str(extra),
        )
        assert "needs numpy<2" in done.stdout, done.stdout + done.stderr

    def test_pip_outside_a_virtual_environment(self, bookworm: Root) -> None:
        marker = bookworm.root / "usr/lib/python3.11/EXTERNALLY-MANAGED"
        assert marker.exists()
        done = bookworm.pip("install", "--no-deps", "click")
        assert done.returncode != 0
        assert "externally-managed-environment" in done.stderr

    def test_timings_under_emulation_are_not_valid(self, bookworm: Root) -> None:
        done = bookworm.python(
            "-c",
            "from edgecv.measure import Watch; print(Watch(bytecode=False).validity())",
        )
        assert "valid=False" in done.stdout
        assert "emulated" in done.stdout


def _largest_constant(body: bytes) -> int:
    """Offset of the largest buffer of a TFLite file."""
    from tflite.Model import Model

    model = Model.GetRootAsModel(body, 0)
    buffers = [model.Buffers(k) for k in range(model.BuffersLength())]
    largest = max((b for b in buffers if b is not None), key=lambda b: b.DataLength())
    found: int = body.index(largest.DataAsNumpy().tobytes())
    return found


def test_the_wheel_is_what_is_tested(bookworm: Root) -> None:
    done = bookworm.python("-c", "import edgecv, sys; print(edgecv.__file__)")
    assert str(bookworm.site) in done.stdout
    assert str(PROJECT / "edgecv") not in done.stdout
