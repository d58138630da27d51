"""Convert an ONNX model to the files that boards run: to a temporary place, verified, then renamed.

Lives above both sides: the converters make bytes, the artifact layer seals the manifest into them, the
verify layer reads them back. Nothing appears under its final name before every target of the call passed.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import edgecv_converters
from edgecv import artifact
from edgecv.artifact.manifest import Manifest
from edgecv.errors import InputError, UnsupportedError
from edgecv.results import ConversionResult
from edgecv.speed import against_float_twin
from edgecv.verify.gates import VerificationFailedError, VerificationReport, shortened
from edgecv.verify.options import VerifyOptions
from edgecv.verify.origin import Origin
from edgecv.verify.verifier import Verifier, require_engines
from edgecv_converters import ReadOptions, WriteOptions
from edgecv_converters.model_info import ultralytics_metadata
from edgecv_converters.ptq.from_folder import quantize_from_folder

__all__ = ["VerifyOptions", "artifact_stem", "convert", "convert_all", "plan"]

_TOOLS = ("edgecv", "onnx", "numpy", "openvino")
_PRECISION_TAG = {"int8": "int8", "float32": "float", "float16": "float16"}


def convert(
    model: str | Path,
    *,
    target: str = "tflite",
    out: str | Path = ".",
    overwrite: bool = False,
    verify: bool = True,
    batch: int | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    io: str | None = None,
    layout: str | None = None,
    float16: bool = False,
    verify_options: VerifyOptions | None = None,
) -> ConversionResult:
    """Convert an ONNX file to one target.

    Quantizers of a QDQ file are kept bit for bit; a float file becomes a float file.

    Args:
        model: ONNX file: ours or anybody's, float or QDQ.
        target: ``"tflite"``, ``"openvino"`` or ``"onnx"``.
        out: Folder for the artifact, made when missing. The file is ``<stem>.<int8|float|float16>.<suffix>``.
        overwrite: Replace an artifact that exists.
        verify: Compare the artifact with the source before it appears: every parameter, and what both
            compute. Without it the manifest says that the artifact is not verified.
        batch: Size of an open batch (the first dimension of every input); None stands for 1.
        shapes: Name of an input → its whole shape, where it leaves other dimensions open.
        io: What inputs and outputs are: ``"int8"``, ``"uint8"`` (of pixels on edgecv's own grid: raw ones) or
            ``"float32"``. None is int8 in TFLite where the source quantizes them, elsewhere what the
            source has. The answers are the same integers.
        layout: Order of the dimensions of inputs and outputs that have four, ``"nhwc"`` or ``"nchw"``. None
            is ``"nhwc"`` in TFLite, ``"nchw"`` elsewhere.
        float16: Store the constants of a float model in half the bytes; computed is in float32.
        verify_options: Pictures to verify on, and where to keep an artifact that fails.

    Returns:
        Where the artifact is, its manifest, the verification report and the plan.

    Raises:
        ModelLoadError: *model* is not a readable ONNX file.
        UnsupportedError: An unknown target, operators without a rule (all are listed), an open
            dimension without a size, an *io* of integers where the source has no quantizer, or
            *float16* of a quantized model.
        InputError: The artifact exists, the sizes do not fit the model, or an option has another value.
        MissingExtraError: An engine that verification needs is not installed.
        GateError: The artifact is not what the source is; nothing is written.
    """
    return convert_all(
        model, [target], out=out, overwrite=overwrite, verify=verify,
        read=ReadOptions(batch, dict(shapes or {})), write=WriteOptions(io, layout, float16),
        verify_options=verify_options,
    )[0]  # fmt: skip


def convert_all(
    model: str | Path,
    targets: Sequence[str],
    *,
    out: str | Path = ".",
    stem: str | None = None,
    overwrite: bool = False,
    verify: bool = True,
    read: ReadOptions | None = None,
    write: WriteOptions | None = None,
    calibrate: Path | None = None,
    verify_options: VerifyOptions | None = None,
    measure: bool = False,
    progress: Callable[[str], None] | None = None,
) -> tuple[ConversionResult, ...]:
    """Convert an ONNX file to several targets, all or nothing.

    Args:
        model: ONNX file.
        targets: Names without repetition.
        out: Folder for the artifacts.
        stem: Start of the file names; by default the model's name without ``.qdq``, ``.float``, ``.onnx``.
        overwrite: Replace artifacts that exist.
        verify: Run the gates of every artifact before anything is renamed.
        read: Sizes for dimensions that the model leaves open.
        write: What inputs and outputs are, and float16 constants; the same for all targets.
        calibrate: Folder of pictures: quantize a float model on them first (min-max, bias
            correction). The quantized ONNX file, ``<stem>.qdq.onnx``, lies beside the artifacts.
        verify_options: As in :func:`convert`.
        measure: Measure every int8 artifact against its float twin on this machine; the report then has
            ``speed``, and a warning where int8 is the slower one.
        progress: Called with a line per target.

    Returns:
        One result per target, in order.

    Raises:
        EdgecvError: As :func:`convert`.
    """
    _check_targets(targets)
    options, write = verify_options or VerifyOptions(), write or WriteOptions()
    if calibrate is not None and write.float16:
        raise InputError(
            "float16 is a form of float models, and with calibrate the model is quantized",
            cure="Use either --calibrate or --float16.",
        )
    if verify:
        require_engines(targets, instead=" (or convert without it: --no-verify, verify=False)")
    source = Origin.of(Path(model), read)
    name = stem or artifact_stem(source.path)
    if calibrate is not None:
        if progress:
            progress(f"quantizing {source.path.name} on the pictures of {calibrate}")
        made_first = quantize_from_folder(source.body, source.manifest, calibrate)
        source = source.quantized(made_first)
    verifier = Verifier(source.body, source.manifest, options) if verify else None
    if verifier is not None:
        # pictures that cannot be used should say so first
        _ = verifier.samples
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"'{folder}' is not a folder", cure="Name a folder with --out.")
    made_folder = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".edgecv-convert-", dir=folder))
    try:
        if calibrate is not None:
            (work / f"{name}.qdq.onnx").write_bytes(made_first)
        results = []
        for target in targets:
            if progress:
                progress(f"{source.path.name} to {target}")
            made = _make(source, target, write, work, name, verifier)
            if made.verification is not None and not made.verification.verified:
                kept = _keep_failed(made, options.keep_failed, overwrite=overwrite)
                raise _failed(made.verification, source.path, kept)
            if measure and made.precision == "int8":
                if progress:
                    progress(f"measuring {made.path.name} and its float twin")
                _add_speed(made, source.body)
            results.append(made)
        finals = {path: folder / path.name for path in sorted(work.iterdir())}
        _refuse_existing(list(finals.values()), overwrite=overwrite, source=source.path)
        artifact.replace_all(finals)
        return tuple(replace(result, path=folder / result.path.name) for result in results)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if made_folder and not any(folder.iterdir()):
            folder.rmdir()


def plan(
    model: str | Path,
    target: str = "tflite",
    *,
    read: ReadOptions | None = None,
    write: WriteOptions | None = None,
) -> Any:
    """What a conversion would do, without writing: an ``edgecv_converters`` plan that prints itself.

    Args:
        model: ONNX file.
        target: Name of the target.
        read: As in :func:`convert_all`.
        write: Likewise.

    Raises:
        EdgecvError: As :func:`convert`.
    """
    _check_targets([target])
    return edgecv_converters.plan_model(Origin.of(Path(model), read).body, target, write=write)


def artifact_stem(path: Path) -> str:
    """Stem of the artifacts made from *path*.

    >>> artifact_stem(Path("run/model.qdq.onnx")), artifact_stem(Path("net.v2.onnx"))
    ('model', 'net.v2')
    >>> artifact_stem(Path("model.float16.onnx"))
    'model'
    """
    name = path.name.removesuffix(".onnx")
    for tag in (".qdq", ".float", ".float16", ".int8"):
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


def _make(
    source: Origin,
    target: str,
    write: WriteOptions,
    work: Path,
    stem: str,
    verifier: Verifier | None,
) -> ConversionResult:
    """Write one sealed artifact into *work*; its manifest says what the verification found."""
    converted = edgecv_converters.convert_model(
        source.body, target, manifest=source.manifest, write=write
    )
    manifest = _manifest(source, converted, write)
    base = f"{stem}.{_PRECISION_TAG[converted.precision]}"
    main_suffix = next(s for s in converted.files if s != ".bin")
    path = work / f"{base}{main_suffix}"
    weights = converted.files.get(".bin")
    if weights is not None:
        (work / f"{base}.bin").write_bytes(weights)
    body, files = converted.files[main_suffix], _attachments(target, manifest)
    path.write_bytes(artifact.seal(target, body, weights, manifest, extra_files=files))
    found: VerificationReport | None = None
    if verifier is not None:
        found = verifier.verify(path, converted.plan)
        manifest = replace(manifest, verification=found.to_json())
        path.write_bytes(artifact.seal(target, body, weights, manifest, extra_files=files))
    sealed = artifact.read(path).manifest
    assert sealed is not None
    assert sealed.verification is not None
    report = {
        "warnings": [*converted.warnings, *(found.warnings if found else ())],
        **sealed.verification,
        **(found.listing_to_json() if found else {}),
        "plan": converted.plan.statistics(),
    }
    return ConversionResult(
        target, path, converted.precision, sealed, report, converted.plan, found
    )


def _add_speed(made: ConversionResult, source: bytes) -> None:
    """Whether int8 pays here, in the report."""
    found = against_float_twin(source, made.path, made.target)
    made.report["speed"] = found.to_json()
    if found.slower and found.valid:
        made.report["warnings"].append(f"int8 is slower than float on this machine: {found}")


def _keep_failed(made: ConversionResult, folder: Path | None, *, overwrite: bool) -> str:
    """Move an artifact that failed to *folder*, if there is one; a sentence about what became of it."""
    if folder is None:
        return "Nothing was written"
    files = [made.path, *([made.path.with_suffix(".bin")] if made.target == "openvino" else [])]
    finals = {path: folder / path.name for path in files}
    present = [final for final in finals.values() if final.exists()]
    if present and not overwrite:
        return f"Nothing was written: '{present[0]}' exists (use --overwrite)"
    folder.mkdir(parents=True, exist_ok=True)
    for path, final in finals.items():
        shutil.move(path, final)
    return f"The artifact is kept as '{finals[made.path]}'"


def _failed(found: VerificationReport, source: Path, kept: str) -> VerificationFailedError:
    gates = shortened([f"{gate.name}: {gate.detail}" for gate in found.failed])
    return VerificationFailedError(
        f"the {found.target} artifact is not what '{source}' is: {gates}",
        cure=f"{kept}. Please report it, or use another target.",
        report=found,
    )


def _attachments(target: str, manifest: Manifest) -> dict[str, bytes] | None:
    """What other programs look for beside a TFLite model."""
    if target != "tflite" or not manifest.labels:
        return None
    batch = manifest.inputs[0].shape[:1] if manifest.inputs else ()
    return {"metadata.json": json.dumps(ultralytics_metadata(manifest, *batch)).encode()}


def _manifest(
    source: Origin, converted: edgecv_converters.Converted, write: WriteOptions
) -> Manifest:
    """The source's manifest, or a bare one, with what this file is."""
    base = source.manifest or Manifest(
        labels=(), preprocess=None, inputs=(), outputs=(), precision=converted.precision
    )
    return replace(
        base,
        inputs=converted.inputs,
        outputs=converted.outputs,
        precision=converted.precision,
        quantizers=converted.quantizers,
        left_out=converted.left_out,
        parent=_parent(source, write),
        tools={**base.tools, **_versions()},
        verification={"verified": False},
    )


def _parent(source: Origin, write: WriteOptions) -> dict[str, Any]:
    """Which file, how it was read and written, and the digest of what it then was, where that is something else."""
    options = {**source.read.to_json(), **write.to_json()}
    said = {"identity": source.file.identity, "kind": "onnx", **options}
    if source.body != source.file.body:
        said["prepared"] = artifact.sha256(source.body)
    return said


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
