"""Writes the source back with its batch bound and its edge shapes static."""

from __future__ import annotations

from collections.abc import Sequence

from edgecv.artifact.manifest import Manifest
from edgecv.spec.types import TensorSpec
from edgecv_converters.ir import Graph
from edgecv_converters.model_info import model_info, ultralytics_metadata
from edgecv_converters.reader import parse

__all__ = ["write"]


def write(
    source: bytes,
    graph: Graph,
    manifest: Manifest | None = None,
    inputs: Sequence[TensorSpec] = (),
) -> bytes:
    """The model of *source* with static shapes at its edge.

    Operators, constants and names stay as they are; metadata entries of other tools stay, unless the
    manifest says something else under their key.

    Args:
        source: A whole ONNX file.
        graph: What :func:`edgecv_converters.reader.read` made of it, for the shapes.
        manifest: For the entries of model-api and Ultralytics, or None.
        inputs: Of the file, likewise.

    Returns:
        The file, the same bytes for the same input.
    """
    model = parse(source)
    for value in model.graph.output:
        shape = value.type.tensor_type.shape
        del shape.dim[:]
        for size in graph.shape(value.name):
            shape.dim.add().dim_value = size
    if manifest is not None:
        entries = {f"model_info {key}": text for key, text in model_info(manifest, inputs).items()}
        batch = graph.shape(graph.inputs[0])[:1] if graph.inputs else ()
        for key, said in ultralytics_metadata(manifest, *batch).items():
            entries[key] = said if isinstance(said, str) else repr(said)
        kept = [(e.key, e.value) for e in model.metadata_props if e.key not in entries]
        del model.metadata_props[:]
        for key, text in (*kept, *entries.items()):
            entry = model.metadata_props.add()
            entry.key, entry.value = key, text
    data: bytes = model.SerializeToString(deterministic=True)
    return data
