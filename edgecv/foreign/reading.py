"""Who says what: the argument, then the manifest, then metadata of others in the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from edgecv.artifact import ModelFile, Preprocess
from edgecv.spec.types import TensorSpec

__all__ = ["Known", "LabelsSource", "PreprocessSource", "Reading", "complaint", "resolve"]

#: Names of the classes, or the path of a file of them.
LabelsSource = Sequence[str] | str | Path
#: A preprocessing, one of the names ``raw``, ``unit``, ``signed``, ``imagenet``, or the path of a JSON file.
PreprocessSource = Preprocess | str | Path


class Reading(NamedTuple):
    """What is known of a model beyond its tensors, and who says it.

    Attributes:
        labels: One per class; empty when nobody says.
        preprocess: From picture to input, or None when nobody says.
        score_kind: ``"logit"``, ``"probability"``, or ``""`` when neither the manifest nor the graph says.
        labels_from: ``"argument"``, ``"manifest"``, ``"TFLite metadata"``, ``"OpenVINO model_info"``,
            ``"ONNX metadata"``, ``"Ultralytics metadata"``, or ``""``.
        preprocess_from: Likewise.
        notes: Why metadata that is there was not used, one sentence each, without a period.
    """

    labels: tuple[str, ...]
    preprocess: Preprocess | None
    score_kind: str
    labels_from: str
    preprocess_from: str
    notes: tuple[str, ...] = ()


def resolve(
    file: ModelFile,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    labels: LabelsSource | None = None,
    preprocess: PreprocessSource | None = None,
) -> Reading:
    """Find out what the classes are called and how a picture becomes the input.

    Args:
        file: The model.
        inputs: Its inputs, as the engine and the manifest describe them.
        outputs: Its outputs.
        labels: The caller's, or None. A text file has one label per line, a JSON file a list or
            ``{"0": "name", …}``.
        preprocess: The caller's, or None.

    Returns:
        What was found. Metadata of others that is damaged or does not fit is not used, and said in
        :attr:`Reading.notes`.

    Raises:
        InputError: An argument that cannot be read, or that does not fit the model.
    """
    said = file.manifest
    reading = Reading((), None, "", "", "")
    if said is not None:
        reading = Reading(
            labels=said.labels,
            preprocess=said.preprocess,
            score_kind=said.score_kind,
            labels_from="manifest" if said.labels else "",
            preprocess_from="manifest" if said.preprocess is not None else "",
        )
    if labels is not None:
        from edgecv.foreign.labels import read_labels

        reading = reading._replace(labels=read_labels(labels, outputs), labels_from="argument")
    if preprocess is not None:
        from edgecv.foreign.presets import read_argument

        reading = reading._replace(
            preprocess=read_argument(preprocess, inputs), preprocess_from="argument"
        )
    if not reading.labels_from or not reading.preprocess_from:
        reading = _ask_the_file(reading, file, inputs, outputs)
    if said is None or not said.labels:
        # a manifest without labels was made from a file of which nobody said what its scores are
        from edgecv.foreign.graph import score_kind

        reading = reading._replace(score_kind=score_kind(file) or reading.score_kind)
    return reading


class Known(Protocol):
    """What is known already; a :class:`Reading` is one, and ``edgecv.ModelInfo``."""

    @property
    def labels(self) -> tuple[str, ...]:
        """One per class, or empty."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Why metadata was not used."""
        ...


def complaint(
    path: Path | None, inputs: tuple[TensorSpec, ...], known: Known | None = None
) -> tuple[str, str]:
    """What to say where a picture comes and nobody says how it becomes the input.

    Args:
        path: Of the model, for the commands.
        inputs: Of the model.
        known: For the commands, and for why metadata was not used.

    Returns:
        A sentence without its period, with what the input's numbers suggest; and the cure, with whole
        commands.
    """
    from edgecv.foreign.suggest import complain

    return complain(path, inputs, known)


def _ask_the_file(
    reading: Reading,
    file: ModelFile,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
) -> Reading:
    from edgecv.foreign.metadata import said_in

    for said in said_in(file, inputs, outputs):
        if said.labels and not reading.labels_from:
            reading = reading._replace(labels=said.labels, labels_from=said.source)
        if said.preprocess is not None and not reading.preprocess_from:
            reading = reading._replace(preprocess=said.preprocess, preprocess_from=said.source)
        reading = reading._replace(notes=reading.notes + said.notes)
    return reading
