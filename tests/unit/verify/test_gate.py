"""Conversion with a writer that makes one mistake: it is named, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tampering import open_copy
from verified_nets import TARGETS, Verified

import edgecv_converters
from edgecv import artifact
from edgecv.conversion import convert, convert_all
from edgecv.errors import GateError

Verify = Callable[[str], Verified]


@pytest.fixture
def wrong_writer(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every writer adds one to one weight."""
    right = edgecv_converters.convert_model

    def wrong(source: bytes, target: str, **options: Any) -> Any:
        converted = right(source, target, **options)
        folder = tmp_path_factory.mktemp("wrong")
        for suffix, data in converted.files.items():
            (folder / f"wrong{suffix}").write_bytes(data)
        main = next(s for s in converted.files if s != ".bin")
        copy = open_copy(folder / f"wrong{main}")
        copy.array("layer1.conv1.weight/int")[6, 1, 0, 2] -= 1
        copy.write()
        for suffix in converted.files:
            converted.files[suffix] = (folder / f"wrong{suffix}").read_bytes()
        return converted

    monkeypatch.setattr(edgecv_converters, "convert_model", wrong)


@pytest.mark.usefixtures("wrong_writer")
def test_a_wrong_parameter_stops_the_conversion(
    target: str, verified: Verify, tmp_path: Path
) -> None:
    source = verified("resnet").source
    with pytest.raises(GateError) as stopped:
        convert(source, target=target, out=tmp_path / "new")
    said = str(stopped.value)
    assert f"the {target} artifact does not carry the parameters of '{source}'" in said
    assert "layer1.conv1.weight, channel 6, element " in said
    assert "nothing was written" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("wrong_writer")
def test_files_that_were_there_stay(target: str, verified: Verify, tmp_path: Path) -> None:
    name = verified("resnet").artifacts[target].name
    (tmp_path / name).write_bytes(b"old")
    with pytest.raises(GateError):
        convert(verified("resnet").source, target=target, out=tmp_path, overwrite=True)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [(name, b"old")]


@pytest.mark.parametrize("last", TARGETS)
def test_one_wrong_target_stops_all_of_the_call(
    last: str, verified: Verify, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    right = edgecv_converters.convert_model
    request.getfixturevalue("wrong_writer")
    wrong = edgecv_converters.convert_model
    request.getfixturevalue("monkeypatch").setattr(
        edgecv_converters,
        "convert_model",
        lambda source, target, **options: (wrong if target == last else right)(
            source, target, **options
        ),
    )
    targets = [t for t in TARGETS if t != last] + [last]
    with pytest.raises(GateError, match=f"the {last} artifact"):
        convert_all(verified("resnet").source, targets, out=tmp_path / "new")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("wrong_writer")
def test_without_verification_the_artifact_says_so(
    target: str, verified: Verify, tmp_path: Path
) -> None:
    result = convert(verified("resnet").source, target=target, out=tmp_path, verify=False)
    assert result.report["verified"] is False
    manifest = artifact.read(result.path).manifest
    assert manifest is not None
    assert manifest.verification is None
