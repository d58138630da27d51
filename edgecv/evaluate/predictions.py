"""Scores that were computed once, kept by the content of the picture; an interrupted run goes on."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgecv.artifact import write_atomically
from edgecv.board import Board
from edgecv.errors import InputError
from edgecv.results import ModelInfo

__all__ = ["PredictionStore"]

_SCHEMA: Final = "edgecv.predictions/1.0"
_EVERY: Final = 200


class PredictionStore:
    """Scores of one model on one engine on one kind of machine, in one file.

    The file's name is a digest of everything that can change a score: the model, the engine and its
    version, the precision, the preprocessing and how it resizes, the processor. A picture is known by
    its bytes, so that a folder may be moved, renamed or enlarged.

    Args:
        folder: Made when missing.
        info: Of the loaded model.
        identity: Digest of the model.

    Raises:
        InputError: The file is there and is none of ours.
    """

    def __init__(self, folder: Path, info: ModelInfo, identity: str) -> None:
        board = Board()
        key = {
            "schema": _SCHEMA,
            "identity": identity,
            "backend": info.backend,
            "backend_version": info.backend_version,
            "float_precision": info.float_precision,
            "resize": info.resize,
            "preprocess": None if info.preprocess is None else asdict(info.preprocess),
            "processor": [platform.machine(), board.cpu_model()],
        }
        self._key = json.dumps(key, sort_keys=True)
        name = hashlib.sha256(self._key.encode()).hexdigest()[:24]
        self.path: Path = folder / f"{name}.npz"
        self._scores: dict[str, npt.NDArray[np.float32]] = {}
        self._new = 0
        self.reused: int = 0
        if self.path.exists():
            self._read()

    def get(self, sha256: str) -> npt.NDArray[np.float32] | None:
        """Scores of a picture, float32 [C], or None."""
        found = self._scores.get(sha256)
        self.reused += found is not None
        return found

    def put(self, sha256: str, scores: npt.NDArray[np.float32]) -> None:
        """Keep scores; the file is written now and then."""
        self._scores[sha256] = np.asarray(scores, np.float32).copy()
        self._new += 1
        if self._new >= _EVERY:
            self.flush()

    def flush(self) -> None:
        """Write what is new, atomically.

        Raises:
            InputError: The folder cannot be written.
        """
        if not self._new:
            return
        stream = io.BytesIO()
        np.savez_compressed(
            stream,
            key=np.array(self._key),
            sha256=np.array(list(self._scores)),
            scores=np.stack(list(self._scores.values())),
        )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, stream.getvalue())
        except OSError as error:
            raise InputError(
                f"'{self.path.parent}' cannot be written: {error.strerror}",
                cure="Name another folder with --predictions.",
            ) from error
        self._new = 0

    def __enter__(self) -> PredictionStore:
        return self

    def __exit__(self, *_: object) -> None:
        """Whatever ended the run: what was computed is kept."""
        self.flush()

    def _read(self) -> None:
        try:
            # the bytes, not the path: numpy leaves the file open where it is damaged
            with np.load(io.BytesIO(self.path.read_bytes()), allow_pickle=False) as content:
                key, names, scores = (content[n] for n in ("key", "sha256", "scores"))
        except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
            raise InputError(
                f"'{self.path}' holds no predictions: {error}", cure="Remove the file."
            ) from error
        if str(key) != self._key or scores.ndim != 2 or len(names) != len(scores):
            raise InputError(
                f"'{self.path}' holds predictions of something else", cure="Remove the file."
            )
        self._scores = dict(zip(map(str, names), scores.astype(np.float32), strict=True))

    def __len__(self) -> int:
        return len(self._scores)

    def describe(self) -> dict[str, Any]:
        """What the predictions belong to, JSON-ready."""
        found: dict[str, Any] = json.loads(self._key)
        return found
