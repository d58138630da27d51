"""Names and fields that users rely on: added to, never renamed."""

from __future__ import annotations

import dataclasses
import inspect

import click
import pytest

import edgecv
from edgecv import results
from edgecv.artifact.manifest import Manifest
from edgecv.cli import cli
from edgecv.spec.types import TensorSpec

PUBLIC = {
    "Classification", "ConversionResult", "EdgecvError", "Error", "Manifest", "ModelInfo", "Prediction",
    "Preprocess", "Profile", "Runtime", "StreamAnswer", "TensorSpec", "__version__", "convert", "models", "quantize",
}  # fmt: skip

FIELDS = {
    TensorSpec: ["name", "shape", "dtype", "layout", "quantization"],
    results.Prediction: ["index", "label", "score"],
    results.Classification: ["predictions", "score_kind", "timings"],
    results.ModelInfo: [
        "path", "kind", "backend", "backend_version", "threads", "inputs", "outputs", "check", "precision",
        "manifest",
    ],
    results.ConversionResult: ["target", "path", "precision", "manifest", "report", "plan"],
    Manifest: [
        "labels", "preprocess", "inputs", "outputs", "precision", "task", "score_kind",
        "quantizers", "left_out", "training_data", "parent", "tools", "calibration",
        "verification", "drift_profile", "identity", "schema_version", "extra",
    ],
}  # fmt: skip

OPTIONS = {
    "demo": {"--out", "--overwrite", "--seed"},
    "train": {"--data", "--model", "--qat", "--out", "--overwrite"},
    "export": {"--model", "--weights", "--calibrate", "--out", "--overwrite"},
    "convert": {
        "--target",
        "--out",
        "--plan",
        "--batch",
        "--shape",
        "--io",
        "--layout",
        "--float16",
        "--list-ops",
        "--no-verify",
        "--verify-data",
        "--no-measure",
        "--keep-failed",
        "--tensors",
        "--overwrite",
    },
    "verify": {"--against", "--data", "--tensors"},
    "evaluate": {
        "--data",
        "--backend",
        "--threads",
        "--json",
        "--labels",
        "--preprocess",
        "--label-map",
    },
    "compare": {"--data", "--max-drop", "--json", "--predictions", "--label-map"},
    "predict": {"--top-k", "--json", "--backend", "--threads", "--labels", "--preprocess"},
    "adopt": {"--labels", "--preprocess", "--score-kind", "--out", "--overwrite", "--backend"},
    "info": {"--json", "--backend", "--threads", "--labels", "--preprocess"},
    "drift": set(),
    "camera": {
        *("--source", "--view", "--host", "--port", "--token", "--duration", "--frames", "--loop"),
        *(
            "--float",
            "--float-every",
            "--log",
            "--log-mb",
            "--csv",
            "--summary",
            "--keep",
            "--keep-mb",
        ),
        *("--keep-below", "--fail-on-drift", "--labels", "--preprocess", "--backend", "--threads"),
    },
    "service-unit": {"--user", "--watchdog"},
    "bench": set(),
    "selftest": {"--json", "--backend"},
    "board": {"--json"},
}


def test_public_names_are_pinned() -> None:
    assert set(edgecv.__all__) == PUBLIC
    assert set(dir(edgecv)) == PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(edgecv, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = edgecv.nothing_here  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", FIELDS, ids=lambda kind: kind.__name__)
def test_fields_are_pinned_in_order(kind: type) -> None:
    names = [field.name for field in dataclasses.fields(kind)]
    assert names[: len(FIELDS[kind])] == FIELDS[kind]


@pytest.mark.parametrize("name", ["prepare_qat", "calibrate", "freeze", "export_qdq"])
def test_quantize_functions_are_there(name: str) -> None:
    assert inspect.isfunction(getattr(edgecv.quantize, name))


def test_runtime_and_convert_signatures() -> None:
    runtime = inspect.signature(edgecv.Runtime)
    assert list(runtime.parameters)[:1] == ["source"]
    assert {"backend", "threads", "check"} <= set(runtime.parameters)
    convert = inspect.signature(edgecv.convert)
    assert next(iter(convert.parameters)) == "model"
    assert {"target", "out", "overwrite", "verify", "batch", "shapes"} <= set(convert.parameters)
    assert {"io", "layout", "float16"} <= set(convert.parameters)


@pytest.mark.parametrize("name", OPTIONS)
def test_commands_keep_their_options(name: str) -> None:
    context = click.Context(cli)
    command = cli.get_command(context, name)
    assert command is not None
    options = {opt for param in command.params for opt in param.opts if opt.startswith("--")}
    assert OPTIONS[name] <= options


def test_no_command_is_unlisted() -> None:
    assert cli.list_commands(click.Context(cli)) == list(OPTIONS)
