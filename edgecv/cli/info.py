"""``edgecv info``: what a model file is, and how it runs here."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecv.cli.options import (
    backend_option,
    file_argument,
    labels_option,
    preprocess_option,
    threads_option,
)

if TYPE_CHECKING:
    from edgecv.artifact import Preprocess
    from edgecv.results import ModelInfo
    from edgecv.spec.types import TensorSpec

__all__ = ["command", "describe_preprocess"]


@click.command(name="info")
@file_argument("model")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@labels_option
@preprocess_option
@backend_option
@threads_option
def command(
    model: Path,
    as_json: bool,
    labels: Path | None,
    preprocess: str | None,
    backend: str,
    threads: int,
) -> None:
    """Say what MODEL is, whether it is intact, and what its engine executes.

    Of somebody else's model it also says what its input suggests, and the command that goes with it.

    \b
    edgecv info artifacts/model.int8.tflite
    """
    from edgecv.runtime import Runtime

    with Runtime(
        model, backend=backend, threads=threads, labels=labels, preprocess=preprocess
    ) as runtime:
        info = runtime.info
    click.echo(json.dumps(_to_json(info), indent=1) if as_json else _to_text(info))


def _to_json(info: ModelInfo) -> dict[str, Any]:
    from edgecv.artifact import manifest_to_json

    record = {
        f.name: getattr(info, f.name) for f in dataclasses.fields(info) if f.name != "manifest"
    }
    record["path"] = str(info.path) if info.path else None
    record["inputs"] = [dataclasses.asdict(t) for t in info.inputs]
    record["outputs"] = [dataclasses.asdict(t) for t in info.outputs]
    record["preprocess"] = dataclasses.asdict(info.preprocess) if info.preprocess else None
    if info.preprocess is None:
        from edgecv.foreign import complaint

        what, cure = complaint(info.path, info.inputs, info)
        record["suggestion"] = f"{what}. {cure}"
    record["manifest"] = manifest_to_json(info.manifest) if info.manifest else None
    return record


def _tensor(spec: TensorSpec) -> str:
    shape = "x".join(map(str, spec.shape))
    text = f"{spec.name}: {spec.dtype} {shape}" + (f" {spec.layout}" if spec.layout else "")
    if spec.quantization:
        text += f", scale {spec.quantization.scale:.9g}, zero point {spec.quantization.zero_point}"
    return text


def _to_text(info: ModelInfo) -> str:
    rows = [
        ("file", str(info.path)),
        ("kind", info.kind),
        ("engine", f"{info.backend} {info.backend_version}, {info.threads} thread(s)"),
        ("executes", info.precision),
        ("check", info.check),
        *(("input", _tensor(t)) for t in info.inputs),
        *(("output", _tensor(t)) for t in info.outputs),
    ]
    rows += _picture_rows(info)
    rows += _manifest_rows(info) if info.manifest is not None else [("manifest", "none")]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def describe_preprocess(said: Preprocess) -> str:
    """A preprocessing in one line."""
    height, width = said.size
    text = (
        f"resize ({said.resize}, {said.interpolation}), crop fraction {said.crop_fraction:.4g},"
        f" {height}x{width} {said.color}"
    )
    if any(said.mean) or any(value != 1 for value in said.std):
        mean, std = (", ".join(f"{v:.4g}" for v in values) for values in (said.mean, said.std))
        text += f", (pixels / 255 - ({mean})) / ({std})"
    return text


def _picture_rows(info: ModelInfo) -> list[tuple[str, str]]:
    """Labels and preprocessing with who says them, or what the input suggests."""
    rows = []
    if info.labels:
        shown = "; ".join(info.labels[:6]) + ("; …" if len(info.labels) > 6 else "")
        rows.append(("labels", f"{len(info.labels)}: {shown} (from: {info.labels_from})"))
    else:
        rows.append(("labels", "nobody says; give --labels FILE"))
    if info.preprocess is not None:
        rows.append(
            ("pictures", f"{describe_preprocess(info.preprocess)} (from: {info.preprocess_from})")
        )
    else:
        from edgecv.foreign import complaint

        what, cure = complaint(info.path, info.inputs, info)
        rows += [("pictures", what), ("", cure)]
    return rows


def _manifest_rows(info: ModelInfo) -> list[tuple[str, str]]:
    manifest = info.manifest
    assert manifest is not None
    rows = [("task", manifest.task)]
    rows.append(
        ("quantizers", f"{len(manifest.quantizers)} present, {len(manifest.left_out)} left out")
    )
    if manifest.training_data:
        rows.append(("trained on", f"{manifest.training_data.get('pictures')} pictures"))
    rows.append(("verified", _verification(manifest.verification or {})))
    rows.append(("identity", manifest.identity))
    return rows


def _verification(said: dict[str, Any]) -> str:
    """What the manifest keeps of the gates, in one line."""
    gates = said.get("gates")
    gates = gates if isinstance(gates, dict) else {}
    if said.get("verified"):
        on = f" on {said['samples']} {said['data']} samples" if "samples" in said else ""
        return f"yes, against its source{on}: {len(gates)} gates passed"
    failed = [n for n, g in gates.items() if isinstance(g, dict) and not g.get("passed")]
    return f"no: {', '.join(failed)} failed" if failed else "no"
