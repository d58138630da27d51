"""Artifacts in every form of edge: what the manifest says, what Runtime answers, what verification notices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_models
from tampering import open_copy
from verified_nets import TARGETS

from edgecv import artifact
from edgecv.conversion import convert, convert_all
from edgecv.runtime import Runtime
from edgecv.verify.parameters import compare_parameters
from edgecv.verify.verifier import verify_artifact
from edgecv_converters import WriteOptions

FORMS = ("int8", "uint8", "float32")
LAYOUTS = ("nhwc", "nchw")


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source that says how pictures become its input."""
    path = tmp_path_factory.mktemp("sealed") / "model.qdq.onnx"
    manifest = tiny_models.manifest("onnx", "int8")
    path.write_bytes(artifact.seal("onnx", tiny_models.onnx_model("int8"), None, manifest))
    return path


@pytest.fixture(scope="module")
def plain(sealed: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Target → the artifact in its own form."""

    @cache
    def made(target: str) -> Path:
        result = convert(sealed, target=target, out=tmp_path_factory.mktemp("plain"))
        assert not {"io", "layout", "float16"} & (result.manifest.parent or {}).keys()
        return result.path

    return made


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("io", FORMS)
@pytest.mark.parametrize("target", TARGETS)
def test_the_runtime_gives_the_same_answer_in_every_form(
    target: str, io: str, layout: str, sealed: Path, plain: Callable[[str], Path], tmp_path: Path
) -> None:
    formed = convert(sealed, target=target, out=tmp_path, io=io, layout=layout)
    assert formed.report["verified"]
    assert formed.manifest.parent is not None
    assert {k: formed.manifest.parent[k] for k in ("io", "layout")} == {"io": io, "layout": layout}
    pictures = np.random.default_rng(0).integers(0, 256, (6, 11, 9, 3)).astype(np.uint8)
    with Runtime(plain(target)) as one, Runtime(formed.path) as other:
        assert other.info.inputs[0].dtype == io
        for picture in pictures:
            assert np.array_equal(one.scores(picture), other.scores(picture))
            assert one.classify(picture).predictions == other.classify(picture).predictions


@pytest.mark.parametrize("io", ["uint8", "float32"])
@pytest.mark.parametrize("target", TARGETS)
def test_a_form_is_verified_again_as_it_was_written(
    target: str, io: str, sealed: Path, tmp_path: Path
) -> None:
    """The plan is made anew from what the manifest says of the form."""
    layout = "nchw" if target == "tflite" else "nhwc"
    result = convert(sealed, target=target, out=tmp_path, io=io, layout=layout, verify=False)
    again = verify_artifact(result.path, sealed)
    assert again.verified
    assert not [warning for warning in again.warnings if "other bytes" in warning]


def test_every_border_is_compared_alone(sealed: Path, tmp_path: Path) -> None:
    """uint8: both QUANTIZE from the reference's integers; float: the one that rounds."""
    for io, tensors in (("uint8", {"input:int8", "logits"}), ("float32", {"input:int8"})):
        result = convert(sealed, out=tmp_path / io, io=io)
        assert result.verification is not None
        rows = {
            row.tensor: row for row in result.verification.tensors if row.operators == "QUANTIZE"
        }
        assert rows.keys() == tensors
        assert all(row.max_error == 0 for row in rows.values())
        assert not [w for w in result.verification.warnings if "end to end only" in w]


@pytest.mark.parametrize("tensor", ["input", "input:int8", "logits", "logits:int8"])
@pytest.mark.parametrize("field", ["scale", "zero_point"])
def test_a_wrong_edge_in_the_file_is_named(
    tensor: str, field: str, sealed: Path, tmp_path: Path
) -> None:
    result = convert(sealed, out=tmp_path, io="uint8")
    copy = open_copy(result.path)
    values = copy.array(f"{tensor}/{field}")
    values[0] = values[0] + 1 if field == "zero_point" else np.nextafter(values[0], np.float32(1))
    copy.save()
    (found,) = compare_parameters(result.path, sealed)
    # the source's name, where it has one
    assert found.tensor == (tensor if ":" not in tensor else tensor.removesuffix(":int8"))
    assert found.field == field


@pytest.mark.parametrize("edge", ["inputs", "outputs"])
@pytest.mark.parametrize("target", TARGETS)
def test_a_wrong_edge_in_the_manifest_is_named(
    target: str, edge: str, sealed: Path, tmp_path: Path
) -> None:
    """Nobody else knows what integers of an ONNX file mean."""
    result = convert(sealed, target=target, out=tmp_path, io="uint8")
    (spec,) = getattr(result.manifest, edge)
    wrong = replace(spec.quantization, zero_point=spec.quantization.zero_point + 1)
    artifact.update(
        result.path, lambda m: replace(m, **{edge: (replace(spec, quantization=wrong),)})
    )
    (found,) = compare_parameters(result.path, sealed)
    assert found.tensor == f"{spec.name} in the manifest"
    assert (found.field, found.found) == ("zero_point", wrong.zero_point)


def test_all_targets_of_a_call_get_the_same_form(sealed: Path, tmp_path: Path) -> None:
    results = convert_all(sealed, TARGETS, out=tmp_path, write=WriteOptions("uint8", "nhwc"))
    specs = {(r.manifest.inputs[0].dtype, r.manifest.inputs[0].layout) for r in results}
    assert specs == {("uint8", "NHWC")}
    grids = {r.manifest.inputs[0].quantization for r in results}
    assert len(grids) == 1


def test_pixels_reach_integers_through_model_api(sealed: Path, tmp_path: Path) -> None:
    """Intel's model-api subtracts a mean and divides by a scale; raw pixels need neither."""
    for io, means, scales in (("uint8", "0 0 0", "1 1 1"), ("int8", "128 128 128", "1 1 1")):
        result = convert(sealed, target="onnx", out=tmp_path / io, io=io)
        entries = {e.key: e.value for e in onnx.load(result.path).metadata_props}
        assert entries["model_info mean_values"] == means
        assert entries["model_info scale_values"] == scales
