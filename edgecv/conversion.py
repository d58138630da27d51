"""Convert an ONNX model to the files that boards run: to a temporary place, verified, then renamed.

Lives above both sides: the converters make bytes, the artifact layer seals the manifest into them, the
verify layer reads them back. Nothing appears under its final name before every target of the call passed.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import edgecv_converters
from edgecv import artifact
from edgecv.artifact.manifest import Manifest
from edgecv.errors import GateError, InputError, UnsupportedError
from edgecv.results import ConversionResult
from edgecv.verify.parameters import Mismatch, compare_parameters
from edgecv_converters.model_info import ultralytics_metadata

__all__ = ["artifact_stem", "convert", "convert_all", "plan"]

_TOOLS = ("edgecv", "onnx", "numpy", "openvino")
_PRECISION_TAG = {"int8": "int8", "float32": "float"}


@dataclass(frozen=True)
class _Source:
    path: Path
    file: artifact.ModelFile


def convert(
    model: str | Path,
    *,
    target: str = "tflite",
    out: str | Path = ".",
    overwrite: bool = False,
    verify: bool = True,
) -> ConversionResult:
    """Convert an ONNX file to one target.

    Quantizers of a QDQ file are kept bit for bit; a float file becomes a float file.

    Args:
        model: ONNX file: ours or anybody's, float or QDQ.
        target: ``"tflite"``, ``"openvino"`` or ``"onnx"``.
        out: Folder for the artifact, made when missing. The file is ``<stem>.<int8|float>.<suffix>``.
        overwrite: Replace an artifact that exists.
        verify: Read every quantization parameter of the artifact back and compare it with the source.

    Returns:
        Where the artifact is, its manifest, the verification report and the plan.

    Raises:
        ModelLoadError: *model* is not a readable ONNX file.
        UnsupportedError: An unknown target, or operators without a rule (all are listed).
        InputError: The artifact exists.
        GateError: The artifact does not carry the source's parameters; nothing is written.
    """
    return convert_all(model, [target], out=out, overwrite=overwrite, verify=verify)[0]


def convert_all(
    model: str | Path,
    targets: Sequence[str],
    *,
    out: str | Path = ".",
    stem: str | None = None,
    overwrite: bool = False,
    verify: bool = True,
    progress: Callable[[str], None] | None = None,
) -> tuple[ConversionResult, ...]:
    """Convert an ONNX file to several targets, all or nothing.

    Args:
        model: ONNX file.
        targets: Names without repetition.
        out: Folder for the artifacts.
        stem: Start of the file names; by default the model's name without ``.qdq``, ``.float``, ``.onnx``.
        overwrite: Replace artifacts that exist.
        verify: Read the parameters back before anything is renamed.
        progress: Called with a line per target.

    Returns:
        One result per target, in order.

    Raises:
        EdgecvError: As :func:`convert`.
    """
    _check_targets(targets)
    source = _read_source(Path(model))
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"'{folder}' is not a folder", cure="Name a folder with --out.")
    made_folder = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".edgecv-convert-", dir=folder))
    try:
        results = []
        for target in targets:
            if progress:
                progress(f"{source.path.name} to {target}")
            results.append(_make(source, target, work, stem or artifact_stem(source.path), verify))
        finals = {path: folder / path.name for path in sorted(work.iterdir())}
        _refuse_existing(list(finals.values()), overwrite=overwrite, source=source.path)
        artifact.replace_all(finals)
        return tuple(replace(result, path=folder / result.path.name) for result in results)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if made_folder and not any(folder.iterdir()):
            folder.rmdir()


def plan(model: str | Path, target: str = "tflite") -> Any:
    """What a conversion would do, without writing: an ``edgecv_converters`` plan that prints itself.

    Raises:
        EdgecvError: As :func:`convert`.
    """
    _check_targets([target])
    return edgecv_converters.plan_model(_read_source(Path(model)).file.body, target)


def artifact_stem(path: Path) -> str:
    """Stem of the artifacts made from *path*.

    >>> artifact_stem(Path("run/model.qdq.onnx")), artifact_stem(Path("net.v2.onnx"))
    ('model', 'net.v2')
    """
    name = path.name.removesuffix(".onnx")
    for tag in (".qdq", ".float", ".int8"):
        name = name.removesuffix(tag)
    return name


def _check_targets(targets: Sequence[str]) -> None:
    known = edgecv_converters.TARGETS
    unknown = [t for t in targets if t not in known]
    if unknown:
        raise UnsupportedError(
            f"unknown target {unknown[0]!r}", cure=f"Targets: {', '.join(known)}."
        )
    if not targets or len(set(targets)) != len(targets):
        raise InputError(
            f"targets {list(targets)} are empty or repeated",
            cure=f"Name each target once: {', '.join(known)}.",
        )


def _read_source(path: Path) -> _Source:
    file = artifact.read(path)
    if file.kind != "onnx":
        raise UnsupportedError(
            f"'{path}' is a {file.kind} file",
            cure="Conversion starts from ONNX; name the .onnx file.",
        )
    return _Source(path, file)


def _make(source: _Source, target: str, work: Path, stem: str, verify: bool) -> ConversionResult:
    """Write one sealed and verified artifact into *work*."""
    parent = source.file.manifest
    converted = edgecv_converters.convert_model(source.file.body, target, manifest=parent)
    manifest = _manifest(source, converted)
    base = f"{stem}.{_PRECISION_TAG[converted.precision]}"
    main_suffix = next(s for s in converted.files if s != ".bin")
    path = work / f"{base}{main_suffix}"
    weights = converted.files.get(".bin")
    if weights is not None:
        (work / f"{base}.bin").write_bytes(weights)
    body, files = converted.files[main_suffix], _attachments(target, manifest)
    path.write_bytes(artifact.seal(target, body, weights, manifest, extra_files=files))
    verification: dict[str, Any] = {"verified": False}
    if verify:
        verification = _verify(path, source, target)
        manifest = replace(manifest, verification=verification)
        path.write_bytes(artifact.seal(target, body, weights, manifest, extra_files=files))
    sealed = artifact.read(path).manifest
    assert sealed is not None
    report = {
        "warnings": list(converted.warnings),
        **verification,
        "plan": converted.plan.statistics(),
    }
    return ConversionResult(target, path, converted.precision, sealed, report, converted.plan)


def _attachments(target: str, manifest: Manifest) -> dict[str, bytes] | None:
    """What other programs look for beside a TFLite model."""
    if target != "tflite" or not manifest.labels:
        return None
    return {"metadata.json": json.dumps(ultralytics_metadata(manifest)).encode()}


def _verify(path: Path, source: _Source, target: str) -> dict[str, Any]:
    mismatches = compare_parameters(path, source.file.body)
    if mismatches:
        raise GateError(
            f"the {target} artifact does not carry the parameters of '{source.path}': {_list(mismatches)}",
            cure="This is a fault of the converter; nothing was written. Please report it.",
        )
    return {"verified": True, "gates": {"parameters": "equal to the source, bit for bit"}}


def _list(mismatches: Sequence[Mismatch], shown: int = 5) -> str:
    more = f" and {len(mismatches) - shown} more" if len(mismatches) > shown else ""
    return "; ".join(str(m) for m in mismatches[:shown]) + more


def _manifest(source: _Source, converted: edgecv_converters.Converted) -> Manifest:
    """The source's manifest, or a bare one, with what this file is."""
    old = source.file.manifest
    base = old or Manifest(
        labels=(), preprocess=None, inputs=(), outputs=(), precision=converted.precision
    )
    return replace(
        base,
        inputs=converted.inputs,
        outputs=converted.outputs,
        precision=converted.precision,
        quantizers=converted.quantizers,
        left_out=converted.left_out,
        parent={"identity": source.file.identity, "kind": "onnx"},
        tools={**base.tools, **_versions()},
        verification=None,
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in _TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _refuse_existing(paths: list[Path], *, overwrite: bool, source: Path) -> None:
    for path in paths:
        if path.exists() and path.samefile(source):
            raise InputError(
                f"'{path}' is the source of this conversion",
                cure="Write to another folder with --out.",
            )
        if path.exists() and not overwrite:
            raise InputError(
                f"'{path}' exists", cure="Use --overwrite, or another folder with --out."
            )
