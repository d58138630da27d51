"""Metadata that others write into model files: which readers a kind of file has, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from edgecv.artifact import ModelFile, Preprocess
from edgecv.errors import EdgecvError
from edgecv.foreign.edge import count_classes, find_picture_input, picture_size
from edgecv.spec.types import TensorSpec

__all__ = ["Edge", "Said", "said_in"]


@dataclass(frozen=True)
class Edge:
    """The model's tensors, as far as metadata has to fit them.

    Attributes:
        classes: Of a classifier, or None.
        picture: The one input that takes a picture, or None.
        size: Its (height, width), or (0, 0).
    """

    classes: int | None
    picture: TensorSpec | None
    size: tuple[int, int]


@dataclass(frozen=True)
class Said:
    """What one kind of metadata says.

    Attributes:
        source: Its name.
        labels: One per class; empty when it does not say, or not what fits.
        preprocess: Or None.
        notes: Why something was not used, one clause each.
    """

    source: str
    labels: tuple[str, ...] = ()
    preprocess: Preprocess | None = None
    notes: tuple[str, ...] = ()


#: From file and edge to labels, preprocessing and notes.
Reader = Callable[[ModelFile, Edge], tuple[tuple[str, ...], Preprocess | None, tuple[str, ...]]]


def said_in(
    file: ModelFile, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> Iterator[Said]:
    """What the metadata in *file* says, the more telling first; a damaged one says why it is not used."""
    edge = _edge(inputs, outputs)
    for source, reader in _readers(file.kind):
        try:
            labels, preprocess, notes = reader(file, edge)
        except EdgecvError as error:
            yield Said(source, notes=(f"its {source} is not used: {error.what}",))
            continue
        except (ValueError, LookupError, RecursionError, MemoryError) as error:
            yield Said(source, notes=(f"its {source} is damaged: {error}",))
            continue
        told = tuple(f"its {source} is not used: {note}" for note in notes)
        yield Said(source, labels, preprocess, told)


def _readers(kind: str) -> tuple[tuple[str, Reader], ...]:
    from edgecv.foreign import model_info, ultralytics

    if kind == "tflite":
        from edgecv.foreign import tflite_metadata

        return (
            ("TFLite metadata", tflite_metadata.read),
            ("Ultralytics metadata", ultralytics.read_attached),
        )
    if kind == "onnx":
        return (
            ("ONNX metadata", model_info.read_onnx),
            ("Ultralytics metadata", ultralytics.read_onnx),
        )
    return (("OpenVINO model_info", model_info.read_xml),) if kind == "openvino" else ()


def _edge(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Edge:
    try:
        picture = find_picture_input(inputs)
    except EdgecvError:
        # a model that takes no picture may still have labels
        return Edge(count_classes(outputs), None, (0, 0))
    return Edge(count_classes(outputs), picture, picture_size(picture))
