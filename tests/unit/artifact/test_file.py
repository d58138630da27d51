"""Reading, checking, sealing and updating model files."""

from __future__ import annotations

import os
import stat
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_models
from reseal import reseal

from edgecv import artifact
from edgecv.errors import InputError, ModelLoadError
from edgecv_runtimes.quiet import import_openvino

SUFFIXES = {"tflite": ".tflite", "openvino": ".xml", "onnx": ".onnx", "torch": ".safetensors"}
KINDS = sorted(SUFFIXES)


def bodies(kind: str, precision: str = "int8") -> tuple[bytes, bytes | None]:
    if kind == "tflite":
        return tiny_models.tflite(precision), None
    if kind == "onnx":
        return tiny_models.onnx_model(precision), None
    if kind == "torch":
        return tiny_models.safetensors(), None
    return tiny_models.openvino(precision)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sealed(kind: str, tmp_path: Path) -> Path:
    """A sealed float artifact on disk."""
    body, weights = bodies(kind, "float32")
    path = tmp_path / f"m.float{SUFFIXES[kind]}"
    path.write_bytes(body)
    if weights is not None:
        path.with_suffix(".bin").write_bytes(weights)
    artifact.seal_file(path, tiny_models.manifest(kind, "float32"))
    return path


def test_detect_by_content(kind: str) -> None:
    assert artifact.detect(bodies(kind)[0]) == kind


def test_detect_ignores_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "really_onnx.tflite"
    path.write_bytes(tiny_models.onnx_model())
    assert artifact.read(path).kind == "onnx"


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00" * 64, b"hello, this is text", b"PK\x03\x04" + b"\x00" * 40, b"<html></html>"],
)
def test_detect_refuses_other_content(data: bytes) -> None:
    with pytest.raises(ModelLoadError, match="not a model file"):
        artifact.detect(data)


def test_unsigned(kind: str) -> None:
    body, weights = bodies(kind)
    source = (body, weights) if weights is not None else body
    file = artifact.read(source)
    assert (file.state, file.manifest, file.body, file.path) == ("unsigned", None, body, None)
    assert file.identity == artifact.identity(kind, body, weights)


def test_seal_then_read(kind: str, sealed: Path) -> None:
    file = artifact.read(sealed)
    expected = tiny_models.manifest(kind, "float32")
    assert file.state == "intact"
    assert file.manifest == replace(expected, identity=file.identity)
    # a checkpoint's header gets a place for metadata; its tensors come last
    part = slice(-64, None) if kind == "torch" else slice(64)
    assert file.body[part] == bodies(kind, "float32")[0][part]
    assert artifact.identity(kind, sealed.read_bytes(), file.weights) == file.identity


def test_identity_is_the_same_before_and_after_sealing(kind: str, sealed: Path) -> None:
    body, weights = bodies(kind, "float32")
    assert artifact.identity(kind, body, weights) == artifact.read(sealed).identity


def test_sealing_is_deterministic(kind: str) -> None:
    body, weights = bodies(kind)
    manifest = tiny_models.manifest(kind, "int8")
    first = artifact.seal(kind, body, weights, manifest)
    assert artifact.seal(kind, body, weights, manifest) == first
    # sealing a sealed file replaces the manifest
    assert artifact.seal(kind, first, weights, manifest) == first


def test_every_source_form_reads_the_same(kind: str, sealed: Path) -> None:
    by_path = artifact.read(sealed)
    assert artifact.read(str(sealed)).manifest == by_path.manifest
    if kind == "openvino":
        pair = (sealed, sealed.with_suffix(".bin"))
        assert artifact.read(pair).manifest == by_path.manifest
        assert artifact.read((sealed.read_bytes(), pair[1].read_bytes())).state == "intact"
    else:
        assert artifact.read(sealed.read_bytes()).state == "intact"


def test_update_keeps_the_identity(sealed: Path) -> None:
    before = artifact.read(sealed)
    profile = {"reference": [0.25, 1e-7, 3], "note": "ü"}
    returned = artifact.update(sealed, lambda m: replace(m, drift_profile=profile, identity="x"))
    after = artifact.read(sealed)
    assert after.state == "intact"
    assert after.manifest == returned
    assert after.identity == before.identity
    assert after.body == before.body
    assert after.manifest is not None
    assert after.manifest.drift_profile == profile


def test_update_of_labels_reaches_the_labels_file(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(tiny_models.tflite())
    artifact.seal_file(path, tiny_models.manifest("tflite", "int8"))
    artifact.update(path, lambda m: replace(m, labels=("a\nb", "c", "d")))
    assert artifact.read(path).members["labels.txt"] == b"a b\nc\nd\n"


def test_a_failing_change_leaves_the_file(sealed: Path) -> None:
    before = sealed.read_bytes()
    with pytest.raises(InputError, match="precision is 'int3'"):
        artifact.update(sealed, lambda m: replace(m, precision="int3"))
    with pytest.raises(InputError, match="cannot be written"):
        artifact.update(sealed, lambda m: replace(m, drift_profile={"x": float("nan")}))
    assert sealed.read_bytes() == before
    assert [p.name for p in sealed.parent.iterdir() if p.suffix == ".tmp"] == []


def test_writing_keeps_permissions_and_links(sealed: Path, tmp_path: Path) -> None:
    sealed.chmod(0o640)
    link = tmp_path / f"link{sealed.suffix}"
    link.symlink_to(sealed)
    if sealed.suffix == ".xml":
        link.with_suffix(".bin").symlink_to(sealed.with_suffix(".bin"))
    artifact.update(link, lambda m: replace(m, drift_profile={}))
    assert link.is_symlink()
    assert stat.S_IMODE(sealed.stat().st_mode) == 0o640
    assert artifact.read(sealed).manifest == artifact.read(link).manifest


def test_a_new_file_honors_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        artifact.write_atomically(tmp_path / "new", b"x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


def test_seal_file_refuses_a_second_manifest(kind: str, sealed: Path) -> None:
    with pytest.raises(ModelLoadError, match="holds a manifest already"):
        artifact.seal_file(sealed, tiny_models.manifest(kind, "float32"))


def test_update_refuses_an_unsigned_file(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(tiny_models.onnx_model())
    with pytest.raises(ModelLoadError, match="holds no manifest"):
        artifact.update(path, lambda m: m)


def test_a_changed_model_is_noticed(kind: str, sealed: Path) -> None:
    data = bytearray(sealed.read_bytes())
    if kind == "openvino":
        target = sealed.with_suffix(".bin")
        data = bytearray(target.read_bytes())
        data[7] ^= 1
        target.write_bytes(data)
    else:
        at = data.find(tiny_models.weights().conv_bias.tobytes())
        data[at] ^= 1
        sealed.write_bytes(data)
    with pytest.raises(ModelLoadError, match="changed since edgecv wrote it") as error:
        artifact.read(sealed)
    assert str(sealed) in str(error.value)
    unchecked = artifact.read(sealed, check="off")
    assert unchecked.state == "unchecked"
    assert unchecked.manifest is not None
    # recomputed digests make the copy intact: the checksum is not what other gates rely on
    reseal(sealed)
    assert artifact.read(sealed).state == "intact"


def test_a_bin_of_another_model_is_noticed(tmp_path: Path) -> None:
    xml, weights = tiny_models.openvino()
    other = tiny_models.openvino(seed=2)[1]
    assert len(other) == len(weights)
    path = tmp_path / "m.xml"
    path.write_bytes(
        artifact.seal("openvino", xml, weights, tiny_models.manifest("openvino", "float32"))
    )
    path.with_suffix(".bin").write_bytes(other)
    with pytest.raises(ModelLoadError, match="changed since edgecv wrote it"):
        artifact.read(path)


def test_a_file_saved_again_by_another_tool_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    manifest = tiny_models.manifest("onnx", "int8")
    path.write_bytes(artifact.seal("onnx", tiny_models.onnx_model("int8"), None, manifest))
    model = onnx.load(path)
    model.producer_name = "another tool"
    onnx.save(model, path)
    with pytest.raises(ModelLoadError, match="changed since edgecv wrote it"):
        artifact.read(path)
    model.metadata_props.add(key="later", value="entry")
    onnx.save(model, path)
    with pytest.raises(ModelLoadError, match="traces of edgecv's manifest"):
        artifact.read(path)


def test_openvino_saving_again_is_noticed(tmp_path: Path) -> None:
    xml, weights = tiny_models.openvino("int8")
    path = tmp_path / "m.xml"
    path.write_bytes(
        artifact.seal("openvino", xml, weights, tiny_models.manifest("openvino", "int8"))
    )
    path.with_suffix(".bin").write_bytes(weights)
    ov = import_openvino()
    model = ov.Core().read_model(path)
    assert model.get_rt_info("edgecv").astype(str).startswith('{"calibration":')
    again = tmp_path / "again.xml"
    model.set_rt_info("x", "unrelated")
    ov.serialize(model, again, again.with_suffix(".bin"))
    with pytest.raises(ModelLoadError, match=r"changed since|traces of"):
        artifact.read(again)
    assert artifact.read(again, check="off").state == "unchecked"


@pytest.mark.parametrize("version", ["2.0", "10"])
def test_a_newer_major_version_is_refused(kind: str, sealed: Path, version: str) -> None:
    data = sealed.read_bytes()
    quote = {"openvino": b"&quot;", "torch": b'\\"'}.get(kind, b'"')
    old = b"%sschema_version%s:%s1.0%s" % ((quote,) * 4)
    new = old.replace(b"1.0", version.encode())
    assert data.count(old) == 1
    changed = data.replace(old, new)
    if kind == "tflite":
        # keep the archive readable: its directory holds the checksum of the member
        parts = artifact.read(sealed)
        from edgecv.artifact import tflite_tail

        document = tflite_tail.split(data).document
        assert document is not None
        members = dict(parts.members)
        tail = tflite_tail.make_tail(len(parts.body), document.replace(old, new), members)
        changed = parts.body + tail
    elif kind == "onnx":
        from edgecv.artifact import onnx_entry

        split = onnx_entry.split(data)
        assert split.document is not None
        changed = split.body + onnx_entry.make_entry(split.document.replace(old, new))
    elif kind == "torch":
        from edgecv.artifact import safetensors_header

        split = safetensors_header.split(data)
        assert split.document is not None
        said = split.document.replace(b'"1.0"', b'"%s"' % version.encode())
        changed = safetensors_header.join(split.body, said)
    sealed.write_bytes(changed)
    with pytest.raises(ModelLoadError, match="pip install --upgrade edgecv"):
        artifact.read(sealed)


def test_a_newer_minor_version_keeps_its_keys(kind: str) -> None:
    body, weights = bodies(kind)
    extra = {
        "future": {"a": [1, 2.5]},
        "preprocess": {"gamma": 2.2},
        "inputs": [{"range": [0, 1]}],
    }
    manifest = replace(tiny_models.manifest(kind, "int8"), schema_version="1.7", extra=extra)
    data = artifact.seal(kind, body, weights, manifest)
    source = (data, weights) if weights is not None else data
    back = artifact.read(source).manifest
    assert back is not None
    assert (back.extra, back.schema_version) == (extra, "1.7")
    document = artifact.manifest_to_json(back)
    assert document["preprocess"]["gamma"] == 2.2
    assert document["inputs"][0]["range"] == [0, 1]


class TestSources:
    def test_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(ModelLoadError, match=r"no\.tflite' cannot be read: no such file"):
            artifact.read(tmp_path / "no.tflite")

    def test_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ModelLoadError, match="Is a directory"):
            artifact.read(tmp_path)

    def test_weights_named_instead_of_the_model(self, tmp_path: Path) -> None:
        with pytest.raises(ModelLoadError, match=r"Give the model: .*m\.xml"):
            artifact.read(tmp_path / "m.bin")

    def test_weights_missing(self, tmp_path: Path) -> None:
        path = tmp_path / "m.xml"
        path.write_bytes(tiny_models.openvino()[0])
        with pytest.raises(ModelLoadError, match=r"m\.bin' cannot be read.*Copy the \.bin"):
            artifact.read(path)
        with pytest.raises(ModelLoadError, match=r"Give both: \(xml, bin\)"):
            artifact.read(path.read_bytes())

    def test_a_second_file_where_none_belongs(self) -> None:
        with pytest.raises(ModelLoadError, match="has no second file"):
            artifact.read((tiny_models.onnx_model(), b"weights"))

    def test_unknown_check_and_kind(self) -> None:
        with pytest.raises(InputError, match="check 'md5' is unknown"):
            artifact.read(b"", check="md5")
        with pytest.raises(InputError, match="kind 'coreml' is unknown"):
            artifact.seal("coreml", b"", None, tiny_models.manifest("onnx", "int8"))


class TestAttachedFiles:
    def test_zip_tools_and_engines_read_the_tail(self, tmp_path: Path) -> None:
        path = tmp_path / "m.tflite"
        path.write_bytes(tiny_models.tflite())
        extra = {"metadata.json": b"{}"}
        artifact.seal_file(path, tiny_models.manifest("tflite", "int8"), extra_files=extra)
        with zipfile.ZipFile(path) as archive:
            assert archive.namelist() == ["edgecv.json", "labels.txt", "metadata.json"]
            assert {i.compress_type for i in archive.infolist()} == {zipfile.ZIP_STORED}
            assert archive.testzip() is None
        from edgecv_runtimes.quiet import import_litert

        engine = import_litert().Interpreter(model_path=str(path))
        engine.allocate_tensors()
        assert engine.get_input_details()[0]["dtype"] is np.int8

    def test_a_foreign_tail_is_kept_when_sealed(self, tmp_path: Path) -> None:
        path = tmp_path / "foreign.tflite"
        path.write_bytes(tiny_models.tflite())
        with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
            archive.writestr("labels_map.txt", "one\ntwo\n")
        assert artifact.read(path).state == "unsigned"
        artifact.seal_file(path, tiny_models.manifest("tflite", "int8"))
        file = artifact.read(path)
        assert file.members["labels_map.txt"] == b"one\ntwo\n"
        assert file.body == tiny_models.tflite()

    @pytest.mark.parametrize("name", ["../x", "a/b", "", "edgecv.json", "ümlaut"])
    def test_names_are_plain(self, name: str) -> None:
        manifest = tiny_models.manifest("tflite", "int8")
        with pytest.raises(InputError, match="cannot be the name"):
            artifact.seal("tflite", tiny_models.tflite(), None, manifest, extra_files={name: b""})

    def test_only_tflite_takes_files(self) -> None:
        manifest = tiny_models.manifest("onnx", "int8")
        body = tiny_models.onnx_model()
        with pytest.raises(InputError, match="cannot be attached to onnx"):
            artifact.seal("onnx", body, None, manifest, extra_files={"a": b""})


def test_an_ir_without_rt_info_gets_one() -> None:
    xml, weights = tiny_models.openvino()
    bare = xml.replace(b"\t<rt_info />\n", b"")
    assert b"<rt_info />\n</net>" not in bare
    data = artifact.seal("openvino", bare, weights, tiny_models.manifest("openvino", "float32"))
    file = artifact.read((data, weights))
    assert file.state == "intact"
    model = import_openvino().Core().read_model(data, weights)
    assert model.has_rt_info("edgecv")


def test_traces_cannot_be_sealed_over() -> None:
    data = artifact.seal(
        "onnx", tiny_models.onnx_model(), None, tiny_models.manifest("onnx", "float32")
    )
    broken = data + b"\x72\x04\x0a\x02ab"
    with pytest.raises(ModelLoadError, match="traces"):
        artifact.seal("onnx", broken, None, tiny_models.manifest("onnx", "float32"))
