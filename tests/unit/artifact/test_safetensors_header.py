"""The manifest in a checkpoint's header: the library reads it, and what is damaged says so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from safetensors import safe_open
from safetensors.numpy import load, save

from edgecv import artifact
from edgecv.errors import ModelLoadError

MANIFEST = tiny_models.manifest("torch", "float32")


def sealed(metadata: dict[str, str] | None = None) -> bytes:
    body = save({"w": np.arange(6, dtype=np.float32)}, metadata=metadata)
    return artifact.seal("torch", body, None, MANIFEST)


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}])
def test_the_library_reads_a_sealed_file(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(sealed(metadata))
    assert load(path.read_bytes())["w"].tolist() == [0, 1, 2, 3, 4, 5]
    with safe_open(path, "numpy") as opened:
        said = opened.metadata()
    assert {k: v for k, v in said.items() if k != "edgecv"} == (metadata or {})
    assert json.loads(said["edgecv"])["labels"] == list(tiny_models.LABELS)
    assert artifact.read(path).state == "intact"


def test_tensors_stay_aligned() -> None:
    data = sealed({"format": "pt"})
    assert (8 + int.from_bytes(data[:8], "little")) % 8 == 0
    assert (8 + int.from_bytes(artifact.read(data).body[:8], "little")) % 8 == 0


def test_a_file_saved_again_by_the_library_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(sealed())
    with safe_open(path, "numpy") as opened:
        said = opened.metadata()
    for metadata in (said, {**said, "a": "b"}):
        again = save({"w": np.ones(6, np.float32)}, metadata=metadata)
        with pytest.raises(ModelLoadError, match=r"changed since|traces of"):
            artifact.read(again)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_a_cut_off_file_is_damaged(keep: float) -> None:
    data = sealed()
    with pytest.raises(ModelLoadError, match=r"damaged safetensors|changed since"):
        artifact.read(data[: int(keep * len(data))])


def test_a_header_that_is_no_object_is_not_sealed() -> None:
    body = (8).to_bytes(8, "little") + b"{[1, 2]  tensors"
    with pytest.raises(ModelLoadError, match="no JSON object"):
        artifact.seal("torch", body, None, MANIFEST)


def test_a_zip_of_torch_save_gets_the_command() -> None:
    with pytest.raises(ModelLoadError, match=r"torch\.save.*edgecv export --model"):
        artifact.read(b"PK\x03\x04" + bytes(60))
