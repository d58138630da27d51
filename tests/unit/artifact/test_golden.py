"""Files that edgecv wrote once: they must be readable, and be written the same, forever."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import tiny_models

from edgecv import artifact
from edgecv.artifact.document import decode, encode

GOLDEN = Path(__file__).parents[2] / "golden"
SUFFIXES = {"tflite": ".tflite", "openvino": ".xml", "onnx": ".onnx", "torch": ".safetensors"}
KINDS = sorted(SUFFIXES)
SCHEMA = Path(artifact.__file__).parent / "manifest-1.schema.json"


def golden(kind: str) -> Path:
    return GOLDEN / f"tiny.int8{SUFFIXES[kind]}"


def document(kind: str) -> bytes:
    return (GOLDEN / f"{kind}.manifest.json").read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_read_as_it_was_written(kind: str) -> None:
    file = artifact.read(golden(kind))
    assert (file.kind, file.state, file.path) == (kind, "intact", golden(kind))
    assert file.manifest is not None
    written = json.loads(document(kind))
    assert file.manifest.identity == file.identity == written["identity"]
    assert file.manifest.labels == ("ant", "great white shark", "<script>")
    assert artifact.manifest_to_json(file.manifest) | {"digest": written["digest"]} == written


@pytest.mark.parametrize("kind", KINDS)
def test_canonical_bytes_do_not_change(kind: str) -> None:
    assert encode(decode(document(kind))) == document(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_sealing_again_gives_the_same_bytes(kind: str) -> None:
    file = artifact.read(golden(kind))
    assert file.manifest is not None
    extra = {"metadata.json": file.members["metadata.json"]} if kind == "tflite" else None
    sealed = artifact.seal(kind, file.body, file.weights, file.manifest, extra_files=extra)
    assert sealed == golden(kind).read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_documents_fit_the_schema(kind: str) -> None:
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(document(kind)), schema)


def test_the_schema_names_every_field() -> None:
    schema = json.loads(SCHEMA.read_text())
    manifest = artifact.read(golden("tflite")).manifest
    assert manifest is not None
    fields = set(artifact.manifest_to_json(manifest)) | {"digest"}
    assert set(schema["properties"]) == set(schema["required"]) == fields
    assert set(schema["$defs"]["preprocess"]["required"]) == set(
        json.loads(document("tflite"))["preprocess"]
    )


def test_members_of_the_tflite_tail() -> None:
    members = artifact.read(golden("tflite")).members
    assert members["labels.txt"] == b"ant\ngreat white shark\n<script>\n"
    assert json.loads(members["metadata.json"])["task"] == "classify"


def test_the_tool_makes_them_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TFLite only: its body is made here alone; the other bodies depend on their library's version."""
    spec = importlib.util.spec_from_file_location("golden_make", GOLDEN / "make.py")
    assert spec is not None
    assert spec.loader is not None
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    monkeypatch.setattr(make, "HERE", tmp_path)
    monkeypatch.setattr(make, "SUFFIXES", {"tflite": ".tflite"})
    make.main()
    assert (tmp_path / "tiny.int8.tflite").read_bytes() == golden("tflite").read_bytes()


def test_engines_give_the_recorded_answer() -> None:
    """The bodies are real models: logits within two steps of the float reference."""
    image = np.random.default_rng(0).integers(0, 256, (8, 6, 3), dtype=np.uint8)
    expected = tiny_models.reference(image / 255)
    from edgecv_runtimes.quiet import import_litert

    engine = import_litert().Interpreter(model_content=artifact.read(golden("tflite")).body)
    engine.allocate_tensors()
    engine.set_tensor(engine.get_input_details()[0]["index"], tiny_models.int8_input(image))
    engine.invoke()
    integers = engine.get_tensor(engine.get_output_details()[0]["index"])[0]
    assert integers.tolist() == [48, -18, 1]
    logits = (
        integers.astype(np.float32) - tiny_models.LOGITS.zero_point
    ) * tiny_models.LOGITS.scale
    assert np.abs(logits - expected).max() <= 2 * tiny_models.LOGITS.scale


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_the_legacy_environment_runs_the_same_bodies(precision: str) -> None:
    assert tiny_models.golden(precision) == tiny_models.tflite(precision)
