"""An engine that answers from a recording: the same answers on a machine without the engine."""

from __future__ import annotations

import copy
import hashlib
import zipfile
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from edgecv.artifact import ModelFile
from edgecv.artifact.atomic import write_atomically
from edgecv.errors import InputError, ModelLoadError, UnsupportedError
from edgecv_runtimes.base import Array, Backend

__all__ = ["ReplayBackend", "record", "recording_path"]


def recording_path(model: Path) -> Path:
    """Where the recording of a model file lies: beside it.

    >>> recording_path(Path("a/net.int8.tflite")).name
    'net.int8.tflite.replay.npz'
    """
    return model.with_name(model.name + ".replay.npz")


def record(backend: Backend, model: Path, calls: Iterable[Mapping[str, Array]]) -> Path:
    """Run *calls* on *backend* and keep the answers beside *model*.

    Args:
        backend: A loaded engine.
        model: The file that it runs; :class:`ReplayBackend` finds the recording by it.
        calls: Feeds, as :meth:`Backend.infer` takes them.

    Returns:
        The recording: an npz of ``<key of the feeds>/<output name>`` arrays.
    """
    arrays = {
        f"{_key(feeds)}/{name}": output
        for feeds in calls
        for name, output in backend.infer(feeds).items()
    }
    path = recording_path(model)
    content = BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    write_atomically(path, content.getvalue())
    return path


class ReplayBackend:
    """Answers recorded calls; any other input is an error."""

    name: ClassVar[str] = "replay"
    kinds: ClassVar[tuple[str, ...]] = ("tflite", "openvino", "onnx")

    def __init__(self, model: ModelFile, *, threads: int, float_precision: str = "f32") -> None:
        del threads, float_precision  # nothing runs
        if model.manifest is None or not model.manifest.inputs or model.path is None:
            raise UnsupportedError(
                "the replay backend needs the path of a file with a manifest",
                cure="Use a file that edgecv converted.",
            )
        self.inputs, self.outputs = model.manifest.inputs, model.manifest.outputs
        path = recording_path(model.path)
        try:
            # the bytes, not the path: numpy leaves the file open where it is damaged
            with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as content:
                self._answers: dict[str, Array] = dict(content)
        except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
            raise ModelLoadError(
                f"its recording '{path}' cannot be read: {error}",
                cure="Make one with edgecv_runtimes.replay.record.",
            ) from error

    @classmethod
    def version(cls) -> str:
        """Version of the recording's format."""
        return "1"

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """The recorded answer to *feeds*.

        Raises:
            InputError: These feeds were not recorded.
        """
        key = _key(feeds)
        try:
            return {spec.name: self._answers[f"{key}/{spec.name}"].copy() for spec in self.outputs}
        except KeyError as error:
            raise InputError(
                f"the recording holds no answer to this input ({key[:12]}…)",
                cure="Record it, or run the engine itself.",
            ) from error

    def executed_precision(self) -> str:
        """Nothing executes."""
        return "recorded"

    def clone(self) -> Self:
        """Another reader of the same recording."""
        return copy.copy(self)

    def close(self) -> None:
        """Forget the recording."""
        self._answers = {}


def _key(feeds: Mapping[str, Array]) -> str:
    state = hashlib.sha256()
    for name in sorted(feeds):
        array: Any = np.ascontiguousarray(feeds[name])
        state.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        state.update(array.data)
    return state.hexdigest()
