"""Model files as a whole: their kind, whether they are intact, sealing a manifest into them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgecv.artifact.atomic import write_atomically
from edgecv.artifact.containers import Parts
from edgecv.artifact.document import decode, encode, sha256
from edgecv.artifact.formats import COPY_AGAIN, KINDS, is_exact, join, split
from edgecv.artifact.manifest import Manifest
from edgecv.artifact.tflite_tail import IDENTIFIER
from edgecv.errors import InputError, ModelLoadError

__all__ = [
    "KINDS",
    "ModelFile",
    "Source",
    "detect",
    "identity",
    "read",
    "seal",
    "seal_file",
    "update",
]

#: A path, the file's bytes, or xml and bin of an OpenVINO model (each a path or bytes).
Source = str | Path | bytes | tuple[str | Path | bytes, str | Path | bytes]

#: Offsets of flatbuffers and sizes of protobuf messages are signed numbers of 32 bits.
_MAX_BYTES = 2**31 - 1
_LABELS = "labels.txt"
_ZIP = b"PK\x03\x04"
_TRACES = (
    "it holds traces of edgecv's manifest, but not a whole one in its place: it is damaged,"
    " truncated, or was saved again by another tool"
)


@dataclass(frozen=True)
class ModelFile:
    """A model file in memory.

    Attributes:
        kind: One of :data:`KINDS`.
        path: Where it came from (the xml for OpenVINO), or None for bytes.
        body: The model without its manifest, as engines get it.
        weights: The OpenVINO bin, else None.
        manifest: Or None.
        state: ``"intact"`` (manifest and digests agree), ``"unsigned"`` (no manifest), or
            ``"unchecked"``.
        members: Other files attached to a TFLite file: name → content.
    """

    kind: str
    path: Path | None
    body: bytes = field(repr=False)
    weights: bytes | None = field(repr=False)
    manifest: Manifest | None = field(repr=False)
    state: str
    members: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def identity(self) -> str:
        """Digest of the model without its manifest, as :func:`identity` gives it."""
        if self.state == "intact" and self.manifest is not None:
            return self.manifest.identity
        try:
            return identity(self.kind, self.body, self.weights)
        except ModelLoadError:
            # taken as it is (check="off"): damaged, and still the same bytes every time
            return _digest(self.kind, self.body, self.weights)


def detect(data: bytes) -> str:
    """Kind of a model file, by its content.

    Args:
        data: The whole file (the xml for OpenVINO).

    Returns:
        One of :data:`KINDS`.

    Raises:
        ModelLoadError: Something else, an empty file, or one cut off where its kind shows.
    """
    if data[4:8] == IDENTIFIER:
        return "tflite"
    start = data[:256].removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith((b"<?xml", b"<net")):
        return "openvino"
    # a device app reads one kind of file: the modules of the others are not loaded for it
    from edgecv.artifact import onnx_entry, safetensors_header

    if safetensors_header.looks_like_safetensors(data):
        return "torch"
    if onnx_entry.looks_like_onnx(data):
        return "onnx"
    # the first field of nearly every exporter: ir_version, a small number
    if data[:1] == b"\x08" and data[1:2] and 0 < data[1] < 64:
        raise ModelLoadError("it looks like ONNX and is damaged or truncated", cure=COPY_AGAIN)
    if data[:4] == _ZIP:
        raise ModelLoadError(
            "it is not a model file: it is a zip archive, such as torch.save makes of weights",
            cure="Make a model of weights with: edgecv export --model NAME --weights FILE"
            " --calibrate DIR --out RUN",
        )
    beginning = f"it begins with {data[:8]!r}" if data else "it is empty"
    raise ModelLoadError(
        f"it is not a model file: {beginning}",
        cure="Give a .tflite file, an OpenVINO .xml with its .bin beside it, a .onnx file, or a"
        " checkpoint that edgecv train made.",
    )


def identity(kind: str, data: bytes, weights: bytes | None = None) -> str:
    """Digest of a model without its manifest; the same before and after sealing.

    TFLite: the flatbuffer before the zip tail. ONNX: the bytes before the manifest's entry.
    OpenVINO: the xml without the manifest's element (its ``rt_info`` present), then the bin.
    Checkpoints: the file without the manifest's entry (its ``__metadata__`` present).

    Args:
        kind: One of :data:`KINDS`.
        data: The file, sealed or not.
        weights: The bin of an OpenVINO model.

    Returns:
        ``"sha256:<64 hex digits>"``.

    Raises:
        ModelLoadError: *data* is damaged.
    """
    return _digest(kind, _prepare(kind, data).body, weights)


def read(source: Source, *, check: str = "hash") -> ModelFile:
    """Read a model file and check that it is what it says.

    Args:
        source: Path, bytes, or ``(xml, bin)``. For the path of an xml the bin beside it is read.
        check: ``"hash"``, or ``"off"`` to take the file as it is.

    Returns:
        The file; its state is ``"unchecked"`` with ``check="off"``.

    Raises:
        ModelLoadError: Missing, truncated, not a model, changed since it was sealed, traces of a
            manifest without a valid one, or a manifest of a newer major version.
        InputError: An unknown *check*.
    """
    if check not in ("hash", "off"):
        raise InputError(f"check {check!r} is unknown", cure="Use 'hash' or 'off'.")
    main, weights_source = source if isinstance(source, tuple) else (source, None)
    path = None if isinstance(main, bytes) else Path(main)
    data = _load(main)
    try:
        kind = detect(data)
        weights = _weights(kind, path, weights_source)
        if check == "off":
            return _unchecked(kind, path, data, weights)
        return _checked(kind, path, data, weights)
    except ModelLoadError as error:
        name = f"'{path}'" if path else "the model"
        raise ModelLoadError(f"{name} cannot be used: {error.what}", cure=error.cure) from error


def seal(
    kind: str,
    body: bytes,
    weights: bytes | None,
    manifest: Manifest,
    *,
    extra_files: Mapping[str, bytes] | None = None,
) -> bytes:
    """Put *manifest* into a model, with the model's identity and the document's digest.

    Args:
        kind: One of :data:`KINDS`.
        body: The model (the xml for OpenVINO); a manifest that it holds is replaced.
        weights: The bin of an OpenVINO model, else None.
        manifest: What to say; its identity is set here.
        extra_files: Attached to TFLite files beside the manifest, e.g. ``metadata.json``;
            ``labels.txt`` is made from the manifest's labels when it is not among them.

    Returns:
        The sealed file; the same bytes for the same arguments.

    Raises:
        InputError: The manifest holds something that the schema does not allow, or files are
            attached to another kind than TFLite.
        ModelLoadError: *body* is damaged.
    """
    if extra_files and kind != "tflite":
        raise InputError(f"files cannot be attached to {kind}", cure="Attach them to TFLite only.")
    parts = _prepare(kind, body)
    members = {**parts.members, **(extra_files or {})}
    if kind == "tflite" and manifest.labels and _LABELS not in (extra_files or {}):
        members[_LABELS] = _labels_file(manifest)
    signed = replace(manifest, identity=_digest(kind, parts.body, weights))
    return join(kind, parts.body, encode(signed), members)


def seal_file(
    path: str | Path, manifest: Manifest, *, extra_files: Mapping[str, bytes] | None = None
) -> Manifest:
    """Seal the model file at *path* in place, atomically; see :func:`seal`.

    Returns:
        The manifest as it stands in the file.

    Raises:
        InputError: As :func:`seal`.
        ModelLoadError: As :func:`read`, and when the file holds a manifest already.
    """
    file = read(path, check="hash")
    if file.manifest is not None:
        raise ModelLoadError(
            f"'{path}' holds a manifest already", cure="Use edgecv.artifact.update to change it."
        )
    data = seal(file.kind, Path(path).read_bytes(), file.weights, manifest, extra_files=extra_files)
    write_atomically(Path(path), data)
    return _manifest_of(file.kind, data)


def update(path: str | Path, change: Callable[[Manifest], Manifest]) -> Manifest:
    """Rewrite the manifest of an intact file, atomically; the identity stays.

    Args:
        path: The model file (the xml for OpenVINO; its bin is not touched).
        change: From the manifest in the file to the one that replaces it.

    Returns:
        The manifest as it stands in the file.

    Raises:
        ModelLoadError: As :func:`read`, and when the file has no manifest.
        InputError: *change* returned something that the schema does not allow.
    """
    file = read(path)
    if file.manifest is None:
        raise ModelLoadError(
            f"'{path}' holds no manifest", cure="Seal one into it with edgecv.artifact.seal_file."
        )
    changed = replace(change(file.manifest), identity=file.manifest.identity)
    members = dict(file.members)
    if _LABELS in members and changed.labels != file.manifest.labels:
        members[_LABELS] = _labels_file(changed)
    data = join(file.kind, file.body, encode(changed), members)
    write_atomically(Path(path), data)
    return _manifest_of(file.kind, data)


def _labels_file(manifest: Manifest) -> bytes:
    """One label a line, as MediaPipe reads it."""
    lines = (label.replace("\r", " ").replace("\n", " ") for label in manifest.labels)
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


def _load(source: str | Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source
    path = Path(source)
    if path.suffix == ".bin":
        raise ModelLoadError(
            f"'{path}' holds only weights", cure=f"Give the model: '{path.with_suffix('.xml')}'."
        )
    try:
        if path.is_file() and path.stat().st_size > _MAX_BYTES:
            raise ModelLoadError(
                f"'{path}' has {path.stat().st_size} bytes",
                cure="Flatbuffers and ONNX files end at 2 GiB; keep large weights in other files.",
            )
        return path.read_bytes()
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise ModelLoadError(
            f"'{path}' cannot be read: {reason}", cure="Check the path."
        ) from error


def _weights(kind: str, path: Path | None, given: str | Path | bytes | None) -> bytes | None:
    if kind != "openvino":
        if given is not None:
            raise ModelLoadError(f"a {kind} model has no second file", cure="Give the file alone.")
        return None
    if isinstance(given, bytes):
        return given
    if given is None and path is None:
        raise ModelLoadError("its weights are missing", cure="Give both: (xml, bin).")
    beside = Path(given) if given is not None else path.with_suffix(".bin") if path else Path()
    try:
        return beside.read_bytes()
    except OSError as error:
        raise ModelLoadError(
            f"its weights '{beside}' cannot be read: {error.strerror}",
            cure="Copy the .bin file beside the .xml file, with the same name.",
        ) from error


def _checked(kind: str, path: Path | None, data: bytes, weights: bytes | None) -> ModelFile:
    parts = split(kind, data)
    if parts.document is None:
        if parts.traces:
            raise ModelLoadError(
                _TRACES,
                cure=f"{COPY_AGAIN} check='off' loads it as it is.",
            )
        if kind == "tflite":
            from edgecv.artifact.flatbuffer import check_flatbuffer

            check_flatbuffer(parts.body)
        if kind == "openvino":
            from edgecv.artifact import xml_element

            if not xml_element.ends_like_ir(data):
                raise ModelLoadError("its xml is truncated: </net> is missing", cure=COPY_AGAIN)
        return ModelFile(kind, path, parts.body, weights, None, "unsigned", parts.members)
    manifest = decode(parts.document)
    found = _digest(kind, parts.body, weights)
    if found == manifest.identity and not is_exact(kind, data, parts):
        raise ModelLoadError(
            "its model is as edgecv wrote it, and what lies around it is not: the file was changed, saved"
            " again by another tool, or made by an edgecv that arranged it otherwise",
            cure="Convert it again. check='off' loads it as it is.",
        )
    if found != manifest.identity:
        raise ModelLoadError(
            f"it changed since edgecv wrote it (it is {found[:19]}…, the manifest says"
            f" {manifest.identity[:19]}…)",
            cure=f"{COPY_AGAIN} check='off' loads it as it is.",
        )
    return ModelFile(kind, path, parts.body, weights, manifest, "intact", parts.members)


def _unchecked(kind: str, path: Path | None, data: bytes, weights: bytes | None) -> ModelFile:
    parts, manifest = Parts(data), None
    try:
        parts = split(kind, data)
        manifest = decode(parts.document) if parts.document is not None else None
    except ModelLoadError:
        # the caller asked for the file as it is; without a readable manifest it has none
        manifest = None
    return ModelFile(kind, path, parts.body, weights, manifest, "unchecked", parts.members)


def _manifest_of(kind: str, data: bytes) -> Manifest:
    document = split(kind, data).document
    assert document is not None, "a file that was just sealed holds a manifest"
    return decode(document)


def _digest(kind: str, body: bytes, weights: bytes | None) -> str:
    return sha256(body, weights or b"") if kind == "openvino" else sha256(body)


def _prepare(kind: str, data: bytes) -> Parts:
    """The parts of *data*, its body in the form that it has inside a sealed file."""
    if kind not in KINDS:
        raise InputError(f"kind {kind!r} is unknown", cure=f"Kinds: {', '.join(KINDS)}.")
    parts = split(kind, data)
    if parts.traces:
        raise ModelLoadError(_TRACES, cure=COPY_AGAIN)
    if kind in ("openvino", "torch"):
        return split(kind, join(kind, parts.body, b"", {}))
    return parts
