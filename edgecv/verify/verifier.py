"""Runs all gates of an artifact against the ONNX file that it was made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from edgecv import artifact
from edgecv.artifact.manifest import Manifest
from edgecv.errors import MissingExtraError, ModelLoadError, UnsupportedError
from edgecv.verify.engine_gates import engine_gates
from edgecv.verify.gates import GateResult, VerificationReport, shortened
from edgecv.verify.mismatch import Mismatch
from edgecv.verify.options import VerifyOptions
from edgecv.verify.origin import Origin
from edgecv.verify.parameters import compare_parameters
from edgecv.verify.reference import reference_outputs
from edgecv.verify.samples import Samples, make_samples
from edgecv.verify.source import Array, read_source
from edgecv.verify.subject import Findings, Subject
from edgecv.verify.tflite_gates import tflite_gates
from edgecv_converters import Plan, ReadOptions, WriteOptions, convert_model
from edgecv_converters.leave_out import GROUPS, leave_out
from edgecv_converters.onnx.float16 import store_in_float16

__all__ = ["Verifier", "require_engines", "verify_artifact"]

#: Target → (module, package) of the engine that runs its artifacts; all are compared with ONNX Runtime.
_ENGINES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "tflite": ("ai_edge_litert", "ai-edge-litert"),
        "openvino": ("openvino", "openvino"),
        "onnx": ("onnxruntime", "onnxruntime"),
    }
)


_OTHER_BYTES: Final = (
    "this version of edgecv writes other bytes from that source: parameters and answers are compared,"
    " not every tensor alone"
)


def require_engines(targets: Sequence[str], *, instead: str = "") -> None:
    """Raise unless everything is installed that verifying *targets* needs.

    Args:
        targets: Kinds of artifacts.
        instead: What else the reader can do, for the message.

    Raises:
        MissingExtraError: An engine is absent; the message has the install command.
    """
    for target in (*targets, "onnx"):
        module, package = _ENGINES[target]
        if find_spec(module) is None:
            raise MissingExtraError(
                f"verification needs the package {package!r}, which is not installed",
                cure=f"Install it with: pip install 'edgecv[convert-verify]'{instead}",
            )


@dataclass
class Verifier:
    """Everything about one source that the verification of its artifacts shares.

    Attributes:
        source: The ONNX file, with static shapes.
        manifest: Its manifest, or None.
        options: What to verify on.
    """

    source: bytes = field(repr=False)
    manifest: Manifest | None
    options: VerifyOptions
    _answers: dict[tuple[str, bool], list[list[Array]]] = field(default_factory=dict, repr=False)

    @cached_property
    def samples(self) -> Samples:
        """What source and artifacts are given.

        Raises:
            InputError: The pictures cannot be used.
        """
        return make_samples(self.source, self.manifest, self.options)

    def verify(
        self, path: Path, plan: Plan | None, *, notes: Iterable[str] = ()
    ) -> VerificationReport:
        """Run the gates: parameters first, and where they are equal all the others.

        Args:
            path: The artifact.
            plan: What it was written from; None skips the gates that need it (TFLite).
            notes: Further warnings for the report.

        Raises:
            MissingExtraError: An engine is not installed.
            ModelLoadError: The artifact is damaged, or ONNX Runtime cannot run the source.
        """
        file = artifact.read(path)
        require_engines([file.kind])
        mismatches: Sequence[Mismatch] = ()
        try:
            mismatches = compare_parameters(path, self.source)
            gate = _parameters(mismatches)
        except ModelLoadError as error:
            # it was read, so that its digest is right: what is wrong was written so
            gate = GateResult("parameters", False, f"{error.what}; the other gates did not run")
        findings = Findings((gate,), (*notes, *self.samples.notes))
        if gate.passed:
            subject = self._subject(file, plan)
            findings += (tflite_gates if file.kind == "tflite" else engine_gates)(subject)
        return VerificationReport(
            target=file.kind,
            engine=_engine(file.kind),
            reference=f"{_engine('onnx')}, no optimizations",
            data=self.samples.data,
            samples=len(self.samples.arrays),
            gates=findings.gates,
            mismatches=tuple(map(str, mismatches)),
            warnings=findings.warnings,
            tensors=findings.tensors,
            layers=findings.layers,
        )

    def _subject(self, file: artifact.ModelFile, plan: Plan | None) -> Subject:
        left_out = file.manifest.left_out if file.manifest is not None else ()
        model, _ = leave_out(self.source, tuple(GROUPS), only=left_out)
        expected = self._outputs(model, optimize=False)
        subject = Subject(file, model, read_source(model), self.samples, expected, (), plan)
        if file.manifest is not None and file.manifest.precision == "float16":
            rounded, halves = store_in_float16(model)
            yardstick = self._outputs(rounded, optimize=False)
            return replace(subject, yardstick=yardstick, halves=len(halves))
        if not subject.integer or file.kind == "onnx":
            return subject
        return replace(subject, yardstick=self._outputs(model, optimize=True))

    def _outputs(self, model: bytes, *, optimize: bool) -> list[list[Array]]:
        """Answers of a source, computed once for all targets that are made from the same."""
        key = (artifact.sha256(model), optimize)
        if key not in self._answers:
            self._answers[key] = reference_outputs(model, self.samples.arrays, optimize=optimize)
        return self._answers[key]


def verify_artifact(
    path: Path, source: Path, options: VerifyOptions | None = None
) -> VerificationReport:
    """Run the gates on an artifact that exists.

    For a TFLite file the plan is made anew; where its bytes are not the artifact's, the gates that need
    it do not run, and the report says so.

    Args:
        path: The artifact.
        source: The ONNX file that it was made from.
        options: What to verify on.

    Raises:
        MissingExtraError: An engine is not installed.
        ModelLoadError: A file cannot be read.
        UnsupportedError: *source* is no ONNX file, or cannot be read.
        InputError: The pictures cannot be used.
    """
    file = artifact.read(path)
    require_engines([file.kind])
    parent = file.manifest.parent if file.manifest is not None else None
    origin = Origin.of(source, ReadOptions.from_json(parent or {}))
    verifier = Verifier(origin.body, origin.manifest, options or VerifyOptions())
    if file.kind != "tflite":
        return verifier.verify(path, None)
    plan = _plan(file, origin, parent or {})
    notes = () if plan is not None else (_OTHER_BYTES,)
    return verifier.verify(path, plan, notes=notes)


def _plan(file: artifact.ModelFile, origin: Origin, parent: Mapping[str, Any]) -> Plan | None:
    """What a TFLite file was written from, if this version of the converter writes the same bytes."""
    try:
        converted = convert_model(
            origin.body, "tflite", manifest=origin.manifest, write=WriteOptions.from_json(parent)
        )
    except UnsupportedError:
        return None
    return converted.plan if converted.files[".tflite"] == file.body else None


def _parameters(mismatches: Sequence[Mismatch]) -> GateResult:
    detail = "every scale, zero point, weight and bias equal to the source, bit for bit"
    if mismatches:
        detail = f"{shortened(mismatches)}; the other gates did not run"
    return GateResult("parameters", not mismatches, detail, float(len(mismatches)), 0.0)


def _engine(target: str) -> str:
    package = _ENGINES[target][1]
    return f"{package} {version(package)}"
