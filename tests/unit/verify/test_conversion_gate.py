"""Conversion with a writer that makes one mistake: it is named, and nothing is left behind."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import OnnxModel
from tampering import Copy, open_copy
from verified_nets import TARGETS, Verified

import edgecv_converters
from edgecv import artifact
from edgecv.cli import main
from edgecv.conversion import VerifyOptions, convert, convert_all
from edgecv.errors import GateError, MissingExtraError
from edgecv.verify.gates import VerificationFailedError
from edgecv.verify.products import quantized_products

Verify = Callable[[str], Verified]

SUFFIXES = {"tflite": {".tflite"}, "openvino": {".xml", ".bin"}, "onnx": {".onnx"}}
ENGINES = {"tflite": "ai-edge-litert ", "openvino": "openvino ", "onnx": "onnxruntime "}


def integer_minus_one(copy: Copy) -> None:
    copy.array("layer1.conv1.weight/int")[6, 1, 0, 2] -= 1


def scale_plus_one_ulp(copy: Copy) -> None:
    scales = copy.array("layer1.conv2.weight/scale")
    scales[3] = np.nextafter(scales[3], np.float32(1))


def zero_point_plus_one(copy: Copy) -> None:
    zeros = copy.array("layer1.bn2/zero_point")
    zeros[(0,) * zeros.ndim] += 1


def zero_point_minus_one(copy: Copy) -> None:
    zeros = copy.array("layer1.bn2/zero_point")
    zeros[(0,) * zeros.ndim] -= 1


def axes_swapped(copy: Copy) -> None:
    """Height and width of a kernel."""
    weight = copy.array("conv1.weight/int")
    weight[...] = weight.transpose(0, 1, 3, 2).copy()


@pytest.fixture
def write_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, verified: Verify
) -> Callable[[Callable[[Copy], None]], None]:
    """Let every writer make one mistake, from now on."""
    right = edgecv_converters.convert_model
    verified("resnet")

    def install(edit: Callable[[Copy], None]) -> None:
        def wrong(source: bytes, target: str, **options: Any) -> Any:
            converted = right(source, target, **options)
            folder = tmp_path_factory.mktemp("wrong")
            for suffix, data in converted.files.items():
                (folder / f"wrong{suffix}").write_bytes(data)
            main = next(s for s in converted.files if s != ".bin")
            copy = open_copy(folder / f"wrong{main}")
            edit(copy)
            copy.write()
            for suffix in converted.files:
                converted.files[suffix] = (folder / f"wrong{suffix}").read_bytes()
            return converted

        monkeypatch.setattr(edgecv_converters, "convert_model", wrong)

    return install


@pytest.fixture
def wrong_writer(write_wrong: Callable[[Callable[[Copy], None]], None]) -> None:
    """Every writer subtracts one from one weight."""
    write_wrong(integer_minus_one)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (integer_minus_one, "layer1.conv1.weight, channel 6, element "),
        (scale_plus_one_ulp, "layer1.conv2.weight, channel 3: scale is "),
        (zero_point_plus_one, "layer1.bn2: zero_point is "),
        (zero_point_minus_one, "layer1.bn2: zero_point is "),
        (axes_swapped, "conv1.weight, channel 0, element "),
    ],
)
def test_one_mistake_of_a_writer_is_named(
    edit: Callable[[Copy], None],
    said: str,
    target: str,
    verified: Verify,
    tmp_path: Path,
    write_wrong: Callable[[Callable[[Copy], None]], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Through the command: exit code 1, the tensor, an empty folder."""
    write_wrong(edit)
    source, out = verified("resnet").source, tmp_path / "new"
    words = ["edgecv", "convert", str(source), "--target", target, "--out", str(out)]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as stop:
        main()
    printed = capsys.readouterr()
    assert stop.value.code == 1
    assert f"parameters: {said}" in printed.err
    assert f"  FAILED  parameters  {said}" in printed.out
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("wrong_writer")
def test_a_wrong_parameter_stops_the_conversion(
    target: str, verified: Verify, tmp_path: Path
) -> None:
    source = verified("resnet").source
    with pytest.raises(VerificationFailedError) as stopped:
        convert(source, target=target, out=tmp_path / "new")
    said = str(stopped.value)
    assert f"the {target} artifact is not what '{source}' is: parameters: " in said
    assert "layer1.conv1.weight, channel 6, element " in said
    assert "Nothing was written" in said
    assert not list(tmp_path.iterdir())
    report = stopped.value.report
    assert (report.verified, len(report.mismatches)) == (False, 1)
    assert [gate.name for gate in report.gates] == ["parameters"]


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
    options = VerifyOptions(keep_failed=tmp_path / "failed")
    with pytest.raises(GateError, match=f"the {last} artifact"):
        convert_all(
            verified("resnet").source, targets, out=tmp_path / "new", verify_options=options
        )
    # the one that failed, and neither of those that passed before it
    assert [p.name for p in tmp_path.iterdir()] == ["failed"]
    assert {p.suffix for p in (tmp_path / "failed").iterdir()} == SUFFIXES[last]


@pytest.mark.usefixtures("wrong_writer")
def test_a_failed_artifact_can_be_kept(
    target: str,
    verified: Verify,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = verified("resnet")
    options = VerifyOptions(keep_failed=tmp_path / "deep" / "failed")
    kept = tmp_path / "deep" / "failed" / made.artifacts[target].name
    with pytest.raises(GateError, match=f"The artifact is kept as '{kept}'"):
        convert(made.source, target=target, out=tmp_path / "new", verify_options=options)
    assert not (tmp_path / "new").exists()
    assert {p.name for p in kept.parent.iterdir()} == {
        f"{kept.stem}{suffix}" for suffix in SUFFIXES[target]
    }
    file = artifact.read(kept)
    assert file.state == "intact"
    assert file.manifest is not None
    assert file.manifest.verification is not None
    assert file.manifest.verification["verified"] is False
    gate = file.manifest.verification["gates"]["parameters"]
    assert (gate["passed"], gate["value"], gate["limit"]) == (False, 1, 0)
    assert "layer1.conv1.weight, channel 6, element " in gate["detail"]
    before = kept.read_bytes()
    with pytest.raises(GateError, match=f"Nothing was written: '{kept}' exists"):
        convert(made.source, target=target, out=tmp_path / "new", verify_options=options)
    assert kept.read_bytes() == before
    monkeypatch.setattr(sys, "argv", ["edgecv", "info", str(kept)])
    with pytest.raises(SystemExit):
        main()
    assert "verified    no: parameters failed\n" in capsys.readouterr().out


@pytest.mark.usefixtures("wrong_writer")
def test_without_verification_the_artifact_says_so(
    target: str, verified: Verify, tmp_path: Path
) -> None:
    result = convert(verified("resnet").source, target=target, out=tmp_path, verify=False)
    assert result.report["verified"] is False
    assert result.verification is None
    manifest = artifact.read(result.path).manifest
    assert manifest is not None
    assert manifest.verification == {"verified": False}


def test_the_manifest_keeps_the_gates(target: str, verified: Verify) -> None:
    manifest = artifact.read(verified("resnet").artifacts[target]).manifest
    assert manifest is not None
    said = manifest.verification
    assert said is not None
    assert (said["verified"], said["data"], said["samples"]) == (True, "synthetic", 8)
    assert said["engine"].startswith(ENGINES[target])
    assert said["reference"].startswith("onnxruntime ")
    assert said["reference"].endswith(", no optimizations")
    assert all(gate["passed"] for gate in said["gates"].values())
    error = said["gates"]["end_to_end"]
    assert 0 <= error["value"] < 1
    assert error["limit"] == (8 if target == "onnx" else pytest.approx(2, abs=1))
    assert said["gates"]["agreement"]["limit"] is None


def test_the_manifest_says_what_every_layer_runs_in(target: str, verified: Verify) -> None:
    """OpenVINO's and ONNX Runtime's own lists, by the source's names; LiteRT's share is counted per operator."""
    made = verified("resnet")
    said = artifact.read(made.artifacts[target]).manifest.verification  # type: ignore[union-attr]
    assert said is not None
    if target == "tflite":
        assert "executed_layers" not in said
        return
    layers = said["executed_layers"]
    assert {kind: len(names) for kind, names in layers["int8"].items()} == {"conv": 3, "linear": 1}
    assert set(layers) == {"int8"}
    if target == "openvino":
        named = {name for names in layers["int8"].values() for name in names}
        assert named == set(quantized_products(made.source.read_bytes()))


def test_a_layer_that_runs_in_float_is_named(tmp_path: Path) -> None:
    model = OnnxModel()
    x = model.input("x", (1, 8, 8, 8))
    for name, grid in (("first", None), ("second", (0.05, 0))):
        weight = np.random.default_rng(0).normal(0, 0.3, (8, 8, 3, 3)).astype(np.float32)
        x = model.op("Conv", [x, model.constant(f"{name}.weight", weight)], name, grid)
    path = tmp_path / "m.onnx"
    path.write_bytes(model.output(x).bytes())
    result = convert(path, target="openvino", out=tmp_path / "out")
    names = ["node:first", "node:second"]
    assert result.manifest.verification["executed_layers"] == {"float32": {"conv": names}}
    assert [layer["precision"] for layer in result.report["layers"]] == ["float32"] * 2
    (warning,) = result.report["warnings"]
    assert "2 of 2 layers do not run in int8: node:first (conv, float32)" in warning


@pytest.mark.parametrize("absent", ["ai_edge_litert", "openvino", "onnxruntime"])
def test_without_an_engine(
    absent: str, verified: Verify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The install line comes before anything is converted; --no-verify does without."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "edgecv.verify.verifier.find_spec", lambda name: None if name == absent else found(name)
    )
    needing = {"ai_edge_litert": {"tflite"}, "openvino": {"openvino"}, "onnxruntime": set(TARGETS)}
    for target in TARGETS:
        out = tmp_path / target
        if target not in needing[absent]:
            assert convert(verified("resnet").source, target=target, out=out).report["verified"]
            continue
        with pytest.raises(MissingExtraError) as missing:
            convert(verified("resnet").source, target=target, out=out)
        assert missing.value.exit_code == 2
        assert "pip install 'edgecv[convert-verify]'" in str(missing.value)
        assert "--no-verify" in str(missing.value)
        assert not out.exists()
        convert(verified("resnet").source, target=target, out=out, verify=False)
