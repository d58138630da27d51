"""Whatever a user gets wrong: one clear error with value and cure, exit code 2, nothing half-written."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

Cli = Callable[..., subprocess.CompletedProcess[str]]


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit code 2, one error line with *words*, no traceback."""
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("edgecv: error:")]
    assert len(errors) == 1, done.stderr
    for word in words:
        assert word in errors[0], errors[0]


def train(cli: Cli, data: Path, out: Path, *more: object) -> subprocess.CompletedProcess[str]:
    return cli(
        "train",
        "--data",
        data,
        "--model",
        "resnet10_micro",
        "--size",
        32,
        "--epochs",
        1,
        "--out",
        out,
        *more,
    )


def test_missing_folder(cli: Cli, tmp_path: Path) -> None:
    refused(train(cli, tmp_path / "nowhere", tmp_path / "run"), "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_empty_folder(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(train(cli, tmp_path / "empty", tmp_path / "run"), "empty")
    assert not (tmp_path / "run").exists()


def test_one_class_only(cli: Cli, squares: Path, tmp_path: Path) -> None:
    shutil.copytree(squares / "red", tmp_path / "data" / "red")
    refused(train(cli, tmp_path / "data", tmp_path / "run"), "red")
    assert not (tmp_path / "run").exists()


def test_an_unreadable_picture(cli: Cli, squares: Path, tmp_path: Path) -> None:
    shutil.copytree(squares, tmp_path / "data")
    (tmp_path / "data" / "red" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    refused(train(cli, tmp_path / "data", tmp_path / "run"), "3.png")
    assert not (tmp_path / "run").exists()


def test_an_unknown_model(cli: Cli, squares: Path, tmp_path: Path) -> None:
    done = cli("train", "--data", squares, "--model", "resnet81", "--out", tmp_path / "run")
    refused(done, "resnet81", "resnet18")
    assert not (tmp_path / "run").exists()


def test_a_bad_recipe(cli: Cli, squares: Path, tmp_path: Path) -> None:
    refused(train(cli, squares, tmp_path / "run", "--lr", "-1"), "lr", "-1")
    refused(train(cli, squares, tmp_path / "run", "--size", "wide"), "wide")
    assert not (tmp_path / "run").exists()


def test_a_model_that_the_spec_does_not_cover_leaves_no_run(
    cli: Cli, squares: Path, tmp_path: Path
) -> None:
    done = cli(
        "train", "--data", squares, "--model", "convnext_atto", "--size", 32, "--epochs", 0, "--qat",
        "--out", tmp_path / "run",
    )  # fmt: skip
    refused(done, "gelu")
    assert not (tmp_path / "run").exists()


def test_an_existing_run_is_kept(cli: Cli, squares: Path, trained: Path) -> None:
    before = {p.name: p.read_bytes() for p in trained.iterdir()}
    refused(train(cli, squares, trained), "--overwrite")
    refused(cli("export", trained), "model.float.onnx", "--overwrite")
    assert {p.name: p.read_bytes() for p in trained.iterdir()} == before


def test_a_folder_of_somebody_is_refused_even_with_overwrite(
    cli: Cli, squares: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    refused(train(cli, squares, tmp_path, "--overwrite"), "thesis.txt")
    refused(cli("demo", "--out", tmp_path, "--overwrite"), "not of a demo")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_unknown_target(cli: Cli, trained: Path, tmp_path: Path) -> None:
    done = cli(
        "convert", trained / "model.qdq.onnx", "--target", "coreml", "--out", tmp_path / "new"
    )
    refused(done, "coreml", "tflite, openvino, onnx")
    assert not (tmp_path / "new").exists()


def test_an_existing_artifact_is_kept(cli: Cli, trained: Path, artifacts: Path) -> None:
    before = {p.name: p.read_bytes() for p in artifacts.iterdir()}
    done = cli(
        "convert",
        trained / "model.qdq.onnx",
        "--target",
        "onnx",
        "--target",
        "tflite",
        "--out",
        artifacts,
    )
    refused(done, "exists", "--overwrite")
    assert {p.name: p.read_bytes() for p in artifacts.iterdir()} == before


def test_convert_never_replaces_its_source(cli: Cli, artifacts: Path, tmp_path: Path) -> None:
    source = shutil.copy(artifacts / "model.int8.onnx", tmp_path)
    before = Path(source).read_bytes()
    refused(cli("convert", source, "--target", "onnx", "--out", tmp_path, "--overwrite"), "source")
    assert Path(source).read_bytes() == before


@pytest.mark.parametrize("command", ["info", "predict", "evaluate"])
@pytest.mark.parametrize("name", ["model.int8.tflite", "model.int8.onnx", "model.int8.xml"])
def test_a_truncated_model(
    cli: Cli, artifacts: Path, squares: Path, tmp_path: Path, command: str, name: str
) -> None:
    data = (artifacts / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) * 2 // 3])
    shutil.copy(artifacts / "model.int8.bin", tmp_path)
    more = {"info": [], "predict": [squares / "red" / "0.png"], "evaluate": ["--data", squares]}[
        command
    ]
    refused(cli(command, tmp_path / name, *more), name)


@pytest.mark.parametrize("command", ["info", "convert", "verify"])
def test_a_file_of_another_kind(
    cli: Cli, squares: Path, trained: Path, tmp_path: Path, command: str
) -> None:
    more = {
        "info": [],
        "convert": ["--target", "tflite", "--out", tmp_path / "new"],
        "verify": ["--against", trained / "model.qdq.onnx"],
    }[command]
    refused(cli(command, squares / "red" / "0.png", *more), "0.png")
    assert not (tmp_path / "new").exists()


def test_convert_from_an_artifact_says_what_to_do(
    cli: Cli, artifacts: Path, tmp_path: Path
) -> None:
    done = cli(
        "convert",
        artifacts / "model.int8.tflite",
        "--target",
        "openvino",
        "--out",
        tmp_path / "new",
    )
    refused(done, "tflite", "ONNX")


def test_a_missing_picture(cli: Cli, artifacts: Path, tmp_path: Path) -> None:
    refused(cli("predict", artifacts / "model.int8.tflite", tmp_path / "gone.jpg"), "gone.jpg")


def test_classes_that_the_model_does_not_know(cli: Cli, artifacts: Path, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (40, 40), "red" if name == "cat" else "blue").save(
            tmp_path / name / "1.png"
        )
    refused(cli("evaluate", artifacts / "model.int8.tflite", "--data", tmp_path), "cat")


def test_an_unknown_backend(cli: Cli, artifacts: Path) -> None:
    refused(
        cli("info", artifacts / "model.int8.tflite", "--backend", "tensorrt"), "tensorrt", "litert"
    )


def test_a_backend_that_cannot_read_the_kind(cli: Cli, artifacts: Path) -> None:
    refused(
        cli("info", artifacts / "model.int8.tflite", "--backend", "onnxruntime"),
        "onnxruntime",
        "tflite",
    )


@pytest.mark.parametrize(
    ("package", "extra", "arguments"),
    [
        ("ai_edge_litert", "litert", ["info", "model.int8.tflite"]),
        ("openvino", "openvino", ["info", "model.int8.xml"]),
        ("onnxruntime", "onnxruntime", ["info", "model.int8.onnx"]),
        ("onnx", "convert", ["convert", "model.int8.onnx", "--target", "tflite"]),
        ("ai_edge_litert", "convert-verify", ["convert", "model.int8.onnx", "--target", "tflite"]),
        ("openvino", "convert-verify", ["convert", "model.int8.onnx", "--target", "openvino"]),
        ("onnxruntime", "convert-verify", ["convert", "model.int8.onnx", "--target", "tflite"]),
        ("torch", "all", ["demo", "--out", "nothing-made"]),
        ("torch", "train", ["train", "--data", "x", "--out", "nothing-made"]),
    ],
)
def test_an_absent_extra_names_the_install_command(
    artifacts: Path, tmp_path: Path, package: str, extra: str, arguments: list[str]
) -> None:
    blocker = (
        "from importlib.machinery import PathFinder\n"
        "found = PathFinder.find_spec\n"
        "def find_spec(name, path=None, target=None):\n"
        f"    absent = name.split('.')[0] in ({package!r}, 'tflite_runtime')\n"
        "    return None if absent else found(name, path, target)\n"
        "PathFinder.find_spec = find_spec\n"
        "from edgecv.cli import main\n"
        "main()\n"
    )
    words = [str(artifacts / a) if a.startswith("model.") else a for a in arguments]
    done = subprocess.run(
        [sys.executable, "-c", blocker, *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    refused(done, "is not installed", "pip install 'edgecv[" + extra)
    assert list(tmp_path.iterdir()) == []


def test_unknown_command_suggests_the_nearest(cli: Cli) -> None:
    done = cli("convret", "x")
    assert done.returncode == 2
    assert "Did you mean 'convert'" in done.stderr


@pytest.mark.parametrize("arguments", [["export"], ["convert", "x.onnx"], ["train"]])
def test_usage_errors_exit_with_two(cli: Cli, arguments: list[str]) -> None:
    done = cli(*arguments)
    assert done.returncode == 2
    assert "Usage:" in done.stderr


def test_interrupting_exits_with_130_and_leaves_nothing(squares: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        [
            Path(sys.executable).parent / "edgecv", "train", "--data", squares, "--model", "resnet10_micro",
            "--size", "32", "--epochs", "2000", "--batch-size", "8", "--out", tmp_path / "run",
        ],
        stderr=subprocess.PIPE,
        text=True,
        # a shell starts what runs in its background, such as these tests, with SIGINT ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if "epoch 1/2000" in line:
                    break
            process.send_signal(signal.SIGINT)
            _, rest = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []
