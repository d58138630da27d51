"""The ONNX file that an artifact is made from, read as a conversion reads it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from edgecv import artifact
from edgecv.artifact.manifest import Manifest
from edgecv.errors import UnsupportedError
from edgecv_converters import ReadOptions, prepare_source

__all__ = ["Origin"]


@dataclass(frozen=True)
class Origin:
    """The file, and what every target starts from: one file with static shapes.

    Attributes:
        path: Where it lies.
        file: As it is.
        body: With static shapes.
        read: Sizes that open dimensions were given.
    """

    path: Path
    file: artifact.ModelFile
    body: bytes
    read: ReadOptions

    @classmethod
    def of(cls, path: Path, read: ReadOptions | None = None) -> Self:
        """Read the file.

        Args:
            path: An ONNX file.
            read: Sizes for dimensions that it leaves open.

        Raises:
            ModelLoadError: It cannot be read.
            UnsupportedError: It is another kind of file, or has an open dimension without a size.
            InputError: The sizes do not fit.
        """
        file = artifact.read(path)
        if file.kind != "onnx":
            raise UnsupportedError(
                f"'{path}' is a {file.kind} file",
                cure="Artifacts are made from ONNX; name the .onnx file.",
            )
        body = prepare_source(file.body, read, folder=path.parent)
        return cls(path, file, body, read or ReadOptions())

    def quantized(self, sealed: bytes) -> Self:
        """The same origin after post-training quantization; *sealed* is a QDQ ONNX file."""
        file = artifact.read(sealed)
        return replace(self, file=file, body=file.body, read=ReadOptions())

    @property
    def manifest(self) -> Manifest | None:
        """The file's own; pictures have the size that was asked for."""
        manifest, shapes = self.file.manifest, [*self.read.shapes.values()]
        if manifest is None or manifest.preprocess is None or [*map(len, shapes)] != [4]:
            return manifest
        size = (shapes[0][2], shapes[0][3])
        return replace(manifest, preprocess=replace(manifest.preprocess, size=size))
