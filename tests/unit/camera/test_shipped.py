"""The drift profile that ships: of the model that ships, readable, small, and in force without a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgecv import artifact
from edgecv.camera import shipped
from edgecv.camera.monitor import FIELDS, shipped_monitor
from edgecv.cli.camera import command
from edgecv.drift import DriftProfile
from edgecv.errors import ModelLoadError
from edgecv.selftest.bundle import MODELS, load_bundle


def test_it_is_of_the_model_that_ships(tmp_path: Path) -> None:
    load_bundle().unpack(tmp_path)
    profile = DriftProfile.from_json(shipped.shipped_profile())
    assert profile.identity == artifact.read(tmp_path / MODELS["tflite"]).identity
    assert 0.9 < profile.reference.top1 < 1
    assert (Path(shipped.__file__).parent / shipped.PROFILE).stat().st_size < 32_000


def test_a_camera_without_a_model_estimates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = tmp_path / "run.json"
    words = ["--source", "synth:?rate=0&hold=1&seed=1", "--view", "none", "--frames", "400"]
    command.main([*words, "--summary", str(summary)], standalone_mode=False)
    found = json.loads(summary.read_text())
    assert set(FIELDS) <= set(found["drift"])
    low, high = found["drift"]["interval"]
    assert low <= found["accuracy"]["true_top1"] <= high
    assert found["drift"]["inside_calibrated_range"] is True
    assert found["drift"]["alarms"] == []
    assert "estimated accuracy" in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, b"", b"\x1f\x8b broken", b"{}"])
def test_a_damaged_one_is_one_error(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is not None:
        (tmp_path / shipped.PROFILE).write_bytes(content)
    monkeypatch.setattr(shipped.resources, "files", lambda _: tmp_path)
    with pytest.raises(ModelLoadError, match="cannot be read"):
        shipped_monitor()
