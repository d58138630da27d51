"""``edgecv bench``, ``compare`` and ``board`` as a user calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cases import sealed
from PIL import Image

COMMAND = (str(Path(sys.executable).parent / "edgecv"),)


def _edgecv(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, words)], capture_output=True, text=True, cwd=cwd, check=False
    )


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    made = []
    for precision in ("float32", "int8"):
        body = sealed("tflite", precision)
        assert isinstance(body, bytes)
        made.append(tmp_path / f"tiny.{precision}.tflite")
        made[-1].write_bytes(body)
    return made


def test_run_compare_collate(models: list[Path], tmp_path: Path) -> None:
    done = _edgecv("bench", "run", *models, "--runs", "64", "--seconds", "0.3", cwd=tmp_path)
    # a busy machine is said, with the exit code of an invalid measurement
    assert done.returncode in (0, 3), done.stderr
    assert ("cannot be trusted" in done.stderr) == (done.returncode == 3)
    assert "tiny.int8.tflite" in done.stdout
    records = sorted((tmp_path / "bench").glob("*.json"))
    assert len(records) == 2
    first = json.loads(records[0].read_text())
    assert first["validity"]["valid"] == (done.returncode == 0)
    compared = _edgecv("bench", "compare", *records, "--invalid", cwd=tmp_path)
    assert compared.returncode == 0, compared.stderr
    assert "median ratio" in compared.stdout
    for suffix in ("md", "csv", "html"):
        made = _edgecv("bench", "collate", "bench", "--out", f"all.{suffix}", cwd=tmp_path)
        assert made.returncode == 0, made.stderr
        assert "tiny.int8" in (tmp_path / f"all.{suffix}").read_text().replace("\\", "")
    wrong = _edgecv("bench", "collate", "bench", "--out", "all.pdf", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr


def test_an_unknown_engine_is_one_error(models: list[Path], tmp_path: Path) -> None:
    done = _edgecv("bench", "run", models[0], "--backend", "nothing", cwd=tmp_path)
    assert done.returncode == 2
    assert "no backend is named 'nothing'" in done.stderr
    assert not (tmp_path / "bench").exists()


def test_compare_two_models(models: list[Path], tmp_path: Path) -> None:
    for number, label in enumerate(("ant", "great white shark", "<script>")):
        for k in range(4):
            path = tmp_path / "pictures" / label / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 16), (40 * number, 60 * k, 200 - 50 * number)).save(path)
    words = ("--data", "pictures", "--predictions", "scores")
    done = _edgecv("compare", *models, *words, "--json", "c.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "paired; McNemar p" in done.stdout
    pair = json.loads((tmp_path / "c.json").read_text())["pairs"][0]
    assert pair["pictures"] == 12
    assert len(pair["flips"]) == pair["to_wrong"] + pair["to_right"] + pair["wrong_to_other_wrong"]
    again = _edgecv("compare", *models, *words, "--max-drop", "0.1", cwd=tmp_path)
    assert "12 scores were known" in again.stderr
    assert again.returncode in (0, 1, 3)
    assert len(list((tmp_path / "scores").iterdir())) == 2
    deep = _edgecv(
        "compare", *models, *words, "--layers", "--pipeline", "--json", "d.json", cwd=tmp_path
    )
    assert deep.returncode == 0, deep.stderr
    assert "tensor by tensor, 12 pictures" in deep.stdout
    assert "channels swapped" in deep.stdout
    record = json.loads((tmp_path / "d.json").read_text())
    [layers] = record["layers"]
    assert layers["pictures"] == 12
    assert "logits" in {layer["name"] for layer in layers["layers"]}
    assert len(record["pipeline"]) == 12
    refused = _edgecv("compare", *models, *words, "--json", "c.json", cwd=tmp_path)
    assert refused.returncode == 2
    assert "exists" in refused.stderr


def test_board(tmp_path: Path) -> None:
    done = _edgecv("board", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "cores" in done.stdout
    record = json.loads(_edgecv("board", "--json", cwd=tmp_path).stdout)
    assert record["facts"]["usable_cores"] >= 1
