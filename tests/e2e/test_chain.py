"""The separate commands, one after the other, through the installed command line."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tampering import copy_files, open_copy

from edgecv.artifact import read
from edgecv.train.folder import RUN_FILES

Cli = Callable[..., subprocess.CompletedProcess[str]]

ENGINES = {"tflite": "litert", "xml": "openvino", "onnx": "onnxruntime"}
FILES = [f"model.{kind}.{suffix}" for kind in ("int8", "float") for suffix in ENGINES]


def test_a_run_folder_has_the_fixed_files(trained: Path) -> None:
    present = {path.name for path in trained.iterdir()}
    assert present == set(RUN_FILES) - {"report.json", "report.html"}


def test_the_log_has_a_line_per_epoch(trained: Path) -> None:
    lines = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert [(r["phase"], r["number"]) for r in lines] == [
        *(("float", i) for i in range(1, 7)),
        ("qat", 1),
    ]


def test_convert_writes_both_precisions_for_every_target(artifacts: Path) -> None:
    present = {path.name for path in artifacts.iterdir()}
    assert present == {*FILES, "model.int8.bin", "model.float.bin"}


def test_every_artifact_carries_the_same_quantizers_bit_for_bit(
    trained: Path, artifacts: Path
) -> None:
    source = read(trained / "model.qdq.onnx").manifest
    assert source is not None
    assert len(source.quantizers) > 10
    for suffix in ENGINES:
        manifest = read(artifacts / f"model.int8.{suffix}").manifest
        assert manifest is not None
        assert set(manifest.quantizers) == set(source.quantizers)
        assert manifest.left_out == ()
        said = manifest.verification
        assert said is not None
        assert (said["verified"], said["data"], said["samples"]) == (True, "synthetic", 8)
        assert all(gate["passed"] for gate in said["gates"].values())
        assert manifest.labels == ("blue", "red")


@pytest.mark.parametrize("name", FILES)
def test_evaluate_measures_every_artifact(
    cli: Cli, artifacts: Path, trained: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "evaluation.json"
    done = cli("evaluate", artifacts / name, "--data", trained / "data.json", "--json", out)
    assert done.returncode == 0, done.stderr
    record = json.loads(out.read_text())["models"][0]
    assert record["pictures"] == 12  # 15 % of 80
    assert record["top1"]["value"] >= 0.9
    assert record["top1"]["low"] <= record["top1"]["value"] <= record["top1"]["high"]
    assert "top-1" in done.stdout


def test_evaluate_compares_with_the_first_model(cli: Cli, artifacts: Path, trained: Path) -> None:
    models = [artifacts / "model.float.tflite", artifacts / "model.int8.tflite"]
    done = cli("evaluate", *models, "--data", trained / "data.json")
    assert done.returncode == 0, done.stderr
    assert "paired" in done.stdout
    assert "McNemar" in done.stdout
    # twelve pictures decide nothing at one point, and without --max-drop nothing depends on it
    assert "at most 1 point lost: undecided" in done.stdout


@pytest.mark.parametrize(
    ("points", "code", "outcome"), [(90, 0, "passed"), (1, 3, "undecided")], ids=str
)
def test_max_drop_is_a_gate(
    cli: Cli, artifacts: Path, trained: Path, tmp_path: Path, points: int, code: int, outcome: str
) -> None:
    models, out = (
        [artifacts / "model.float.onnx", artifacts / "model.int8.onnx"],
        tmp_path / "e.json",
    )
    done = cli(
        "evaluate", *models, "--data", trained / "data.json", "--max-drop", points, "--json", out
    )
    assert done.returncode == code, done.stderr
    assert f"lost: {outcome}" in done.stdout
    record = json.loads(out.read_text())["paired"][0]["non_inferiority"]
    assert (record["outcome"], record["margin"]) == (outcome, points / 100)
    needed = record["needed_pictures"]
    assert (needed is None) == (outcome == "passed")
    if needed is not None:
        assert f"about {needed} of this kind" in done.stdout
        assert f"{needed} pictures" in done.stderr


def test_a_model_that_loses_more_fails_the_gate(
    cli: Cli, artifacts: Path, trained: Path, tmp_path: Path
) -> None:
    copy = open_copy(copy_files(artifacts / "model.int8.onnx", tmp_path))
    copy.array("fc.weight/int")[:] *= -1
    copy.save()
    models = [artifacts / "model.int8.onnx", copy.path, artifacts / "model.float.onnx"]
    done = cli("evaluate", *models, "--data", trained / "data.json", "--max-drop", 2)
    assert done.returncode == 1, done.stdout
    assert "at most 2 points lost: failed" in done.stdout
    # what failed decides, though the other comparison is undecided
    assert "at most 2 points lost: undecided" in done.stdout
    assert "loses more top-1 than accepted" in done.stderr


def test_max_drop_needs_a_reference(cli: Cli, artifacts: Path, trained: Path) -> None:
    model = artifacts / "model.int8.onnx"
    done = cli("evaluate", model, "--data", trained / "data.json", "--max-drop", 1)
    assert done.returncode == 2
    assert "edgecv evaluate FLOAT INT8" in done.stderr


@pytest.mark.parametrize("name", FILES)
def test_predict_names_the_class(cli: Cli, artifacts: Path, squares: Path, name: str) -> None:
    done = cli(
        "predict", artifacts / name, squares / "red" / "0.png", squares / "blue" / "0.png", "--json"
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [a["predictions"][0]["label"] for a in answers] == ["red", "blue"]
    assert sum(p["score"] for p in answers[0]["predictions"]) == pytest.approx(1, abs=1e-5)


def test_the_checkpoints_of_a_run_are_models_too(
    cli: Cli, trained: Path, artifacts: Path, squares: Path
) -> None:
    """The reference, by the same commands: torch runs what training left behind."""
    qat, picture = trained / "qat.safetensors", squares / "red" / "0.png"
    told = json.loads(cli("info", qat, "--json").stdout)
    assert (told["backend"], told["check"]) == ("torch", "intact")
    answer = json.loads(cli("predict", qat, picture, "--json").stdout)
    assert answer["predictions"][0]["label"] == "red"
    done = cli("evaluate", qat, artifacts / "model.int8.onnx", "--data", squares)
    assert done.returncode == 0, done.stderr
    assert "agreement 100.00 %" in done.stdout


@pytest.mark.parametrize("name", FILES)
def test_info_says_what_runs(cli: Cli, artifacts: Path, name: str) -> None:
    done = cli("info", artifacts / name)
    assert done.returncode == 0, done.stderr
    assert "intact" in done.stdout
    assert ENGINES[name.rsplit(".", 1)[1]] in done.stdout
    assert "verified    yes, against its source on 8 synthetic samples: " in done.stdout
    record = json.loads(cli("info", artifacts / name, "--json").stdout)
    assert record["manifest"]["labels"] == ["blue", "red"]
    assert ("int8" in record["precision"]) == ("int8" in name)


def test_verify_passes_on_what_convert_wrote(
    cli: Cli, trained: Path, artifacts: Path, squares: Path
) -> None:
    for suffix in ENGINES:
        done = cli(
            "verify", artifacts / f"model.int8.{suffix}", "--against", trained / "model.qdq.onnx",
            "--data", squares,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "verified on 64 pictures" in done.stdout
        assert "64 of 64 name the same class: 100.0%, 95 % interval 94.3% to 100.0%" in done.stdout


def test_convert_verifies_on_pictures_and_prints_every_tensor(
    cli: Cli, trained: Path, squares: Path, tmp_path: Path
) -> None:
    done = cli(
        "convert", trained / "model.qdq.onnx", "--target", "tflite", "--out", tmp_path / "out",
        "--verify-data", squares, "--tensors", "--keep-failed", tmp_path / "failed",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "verified on 64 pictures" in done.stdout
    assert "XNNPACK partition, 0 of " in done.stdout
    assert "100.0% of " in done.stdout
    assert "layer1.0.act1" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    manifest = read(tmp_path / "out" / "model.int8.tflite").manifest
    assert manifest is not None
    assert manifest.verification is not None
    assert (manifest.verification["data"], manifest.verification["samples"]) == ("pictures", 64)
    without = cli(
        "convert", trained / "model.qdq.onnx", "--target", "tflite", "--out", tmp_path / "out",
        "--no-verify", "--overwrite",
    )  # fmt: skip
    assert "not verified" in without.stdout
    manifest = read(tmp_path / "out" / "model.int8.tflite").manifest
    assert manifest is not None
    assert manifest.verification == {"verified": False}


def test_verify_notices_another_model(
    cli: Cli, trained: Path, artifacts: Path, tmp_path: Path
) -> None:
    other = cli("export", trained, "--method", "ptq", "--out", tmp_path / "ptq")
    assert other.returncode == 0, other.stderr
    source = tmp_path / "ptq" / "model.qdq.onnx"
    done = cli("verify", artifacts / "model.int8.tflite", "--against", source)
    assert done.returncode == 1
    assert "scale" in done.stdout


def test_plan_prints_and_writes_nothing(cli: Cli, trained: Path, tmp_path: Path) -> None:
    done = cli(
        "convert", trained / "model.qdq.onnx", "--target", "tflite", "--plan", "--out", tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "CONV_2D" in done.stdout
    assert "TRANSPOSE" not in done.stdout.replace("TRANSPOSE_CONV", "")
    assert list(tmp_path.iterdir()) == []
    as_json = cli("convert", trained / "model.qdq.onnx", "--target", "tflite", "--plan", "json")
    assert json.loads(as_json.stdout)


def test_a_checkpoint_without_training(
    cli: Cli, trained: Path, squares: Path, tmp_path: Path
) -> None:
    """README block 2 with the trained weights as somebody's checkpoint (its normalization removed)."""
    from safetensors.torch import save_file

    from edgecv.models.micro import resnet10_micro

    weights = tmp_path / "theirs.safetensors"
    save_file(resnet10_micro(10).state_dict(), weights)
    out = tmp_path / "run"
    done = cli(
        "export", "--model", "resnet10_micro", "--weights", weights, "--calibrate", squares, "--out", out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "agrees with the original" in done.stdout
    converted = cli(
        "convert", out / "model.qdq.onnx", "--target", "tflite", "--out", tmp_path / "artifacts"
    )
    assert converted.returncode == 0, converted.stderr
    assert read(tmp_path / "artifacts" / "model.int8.tflite").state == "intact"


def test_a_run_without_qat_is_quantized_after_training(
    cli: Cli, squares: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = cli(
        "train", "--data", squares, "--model", "resnet10_micro", "--out", run, "--size", "32", "--epochs", 1,
        "--batch-size", 8,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    exported = cli("export", run)
    assert exported.returncode == 0, exported.stderr
    assert "ptq" in exported.stdout


def test_a_float_model_is_quantized_on_pictures_first(
    cli: Cli, trained: Path, squares: Path, tmp_path: Path
) -> None:
    out = tmp_path / "artifacts"
    done = cli(
        "convert", trained / "model.float.onnx", "--calibrate", squares, "--target", "tflite",
        "--target", "onnx", "--out", out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {p.name for p in out.iterdir()} == {
        "model.qdq.onnx",
        "model.int8.tflite",
        "model.int8.onnx",
    }
    manifest = read(out / "model.int8.tflite").manifest
    assert manifest is not None
    assert manifest.labels == ("blue", "red")
    assert manifest.calibration is not None
    assert manifest.calibration["pictures"] == 80
    against = cli("verify", out / "model.int8.tflite", "--against", out / "model.qdq.onnx")
    assert against.returncode == 0, against.stdout
    again = cli(
        "convert", out / "model.qdq.onnx", "--calibrate", squares, "--target", "tflite", "--out", tmp_path / "b",
    )  # fmt: skip
    assert again.returncode == 2
    assert "quantized already" in again.stderr
    assert not (tmp_path / "b").exists()
