"""Sealing what was found out about somebody's model into a copy of it, as edgecv's manifest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from edgecv.artifact import Manifest, ModelFile, seal
from edgecv.errors import InputError
from edgecv.foreign.attached import attached
from edgecv.foreign.graph import precision
from edgecv.foreign.reading import Reading
from edgecv.foreign.suggest import complain
from edgecv.foreign.tflite_metadata import label_file
from edgecv.spec.types import TensorSpec

__all__ = ["adopted_manifest", "sealed"]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def adopted_manifest(
    file: ModelFile,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    reading: Reading,
    *,
    score_kind: str | None = None,
    version: str = "",
) -> Manifest:
    """The manifest for a model of which labels, preprocessing and kind of scores are known.

    What the file's own manifest says beyond them stays.

    Args:
        file: The model.
        inputs: Of the model, as its engine describes them.
        outputs: Of the model.
        reading: What :func:`edgecv.foreign.resolve` found.
        score_kind: ``"logit"`` or ``"probability"``; None takes the one of *reading*.
        version: Of edgecv.

    Raises:
        InputError: Labels, preprocessing or kind of scores are unknown; the cure has the option.
    """
    if reading.preprocess is None:
        what, cure = complain(file.path, inputs, reading)
        raise InputError(what, cure=cure)
    if not reading.labels:
        why = f" ({'; '.join(reading.notes)})" if reading.notes else ""
        raise InputError(
            f"nobody says what the model's classes are called{why}",
            cure="Add --labels FILE, with one label per line.",
        )
    kind = score_kind or reading.score_kind
    if not kind:
        raise InputError(
            "the graph does not end in a softmax or a linear layer, so nobody says what its scores are",
            cure="Add --score-kind logit or --score-kind probability.",
        )
    base = file.manifest or Manifest((), None, tuple(inputs), tuple(outputs), precision(file))
    return replace(
        base,
        labels=reading.labels,
        preprocess=reading.preprocess,
        score_kind=kind,
        tools={**base.tools, **({"edgecv": version} if version else {})},
    )


def sealed(file: ModelFile, manifest: Manifest, *, own_labels: bool) -> bytes:
    """A copy of *file* (its xml for OpenVINO) with *manifest* inside.

    Files attached to a TFLite file stay attached.

    Args:
        file: The model.
        manifest: What to say.
        own_labels: Whether the labels are not the attached ones: then the label file that the TFLite
            metadata names gets them, too, so that other programs read the same.

    Raises:
        InputError: An attached file has a name that edgecv does not write.
        ModelLoadError: The file is damaged.
    """
    if file.kind != "tflite":
        return seal(file.kind, file.body, file.weights, manifest)
    members = attached(file)
    odd = next((name for name in members if not _NAME.fullmatch(name)), None)
    if odd is not None:
        raise InputError(
            f"the file has {odd!r} attached, a name that edgecv does not write",
            cure="Remove it from the archive at the file's end: zip -d MODEL NAME.",
        )
    if own_labels:
        members.pop("labels.txt", None)
        if (named := label_file(file.body)) in members:
            members[named] = "".join(f"{label}\n" for label in manifest.labels).encode()
    return seal(file.kind, file.body, file.weights, manifest, extra_files=members)
