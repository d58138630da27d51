"""The run folder: names of its files, claiming it, its log."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from edgecv.errors import InputError

__all__ = ["RUN_FILES", "RunFolder"]

#: Fixed names; later ones are added, never renamed.
RUN_FILES = (
    "recipe.yaml",
    "data.json",
    "log.jsonl",
    "float.safetensors",
    "qat.safetensors",
    "model.float.onnx",
    "model.qdq.onnx",
    "report.json",
    "report.html",
)


class RunFolder:
    """Paths inside a run folder.

    Args:
        path: The folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path: Path = Path(path)
        self.recipe: Path = self.path / "recipe.yaml"
        self.data: Path = self.path / "data.json"
        self.log: Path = self.path / "log.jsonl"
        self.float_weights: Path = self.path / "float.safetensors"
        self.qat_weights: Path = self.path / "qat.safetensors"
        self.float_onnx: Path = self.path / "model.float.onnx"
        self.qdq_onnx: Path = self.path / "model.qdq.onnx"

    def claim(self, *, overwrite: bool) -> None:
        """Make the folder, or empty an earlier run of ours.

        Raises:
            InputError: It holds an earlier run and *overwrite* is false, or files that are not ours.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"'{self.path}' is not a folder", cure="Choose another with --out.")
        self.path.mkdir(parents=True, exist_ok=True)
        present = sorted(child.name for child in self.path.iterdir())
        foreign = [name for name in present if name not in RUN_FILES]
        if foreign:
            raise InputError(
                f"'{self.path}' holds files that are not of a run: '{foreign[0]}'",
                cure="Choose another folder with --out.",
            )
        if present and not overwrite:
            raise InputError(
                f"'{self.path}' holds a run already", cure="Use --overwrite, or another --out."
            )
        for name in present:
            (self.path / name).unlink()

    def existing(self) -> RunFolder:
        """This folder, checked to hold a trained run.

        Raises:
            InputError: It does not.
        """
        for file in (self.recipe, self.data, self.float_weights):
            if not file.is_file():
                raise InputError(
                    f"'{self.path}' is no finished run: '{file.name}' is missing",
                    cure="Name the folder that edgecv train made.",
                )
        return self

    def append_log(self, record: dict[str, Any]) -> None:
        """Append one JSON line."""
        with self.log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")

    def discard(self) -> None:
        """Remove the folder of a run that did not finish."""
        shutil.rmtree(self.path, ignore_errors=True)
