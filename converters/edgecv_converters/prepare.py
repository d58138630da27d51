"""The source as every target gets it: one file, static shapes, nothing computed that is constant."""

from __future__ import annotations

from pathlib import Path

from edgecv.errors import ModelLoadError
from edgecv_converters.binding import bind
from edgecv_converters.external import embed
from edgecv_converters.folding import fold
from edgecv_converters.options import ReadOptions
from edgecv_converters.reader import MAX_BYTES, parse_open, sort

__all__ = ["prepare"]


def prepare(source: bytes, options: ReadOptions | None = None, folder: Path | None = None) -> bytes:
    """See :func:`edgecv_converters.prepare_source`."""
    model = parse_open(source)
    embedded = embed(model, folder, MAX_BYTES) if folder is not None else False
    bound = bind(model, options or ReadOptions())
    moved = sort(model)
    folded = fold(model)
    if not (embedded or bound or moved or folded):
        return source
    if model.ByteSize() > MAX_BYTES:
        raise ModelLoadError(
            f"the model has {model.ByteSize()} bytes", cure="ONNX files end at 2 GiB."
        )
    data: bytes = model.SerializeToString(deterministic=True)
    return data
