"""A cell seen from outside: a child process that answers one JSON line per JSON line."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from typing import IO, Any

from edgecv.bench.model import Cell
from edgecv.errors import EdgecvError, InvalidMeasurementError

__all__ = ["COMMAND", "CellProcess"]

#: -P: a file named like a library in the current folder must not be imported.
COMMAND = (sys.executable, "-P", "-m", "edgecv.bench.cell")
_TAIL = 2000


class CellProcess:
    """Start a cell and talk to it. A context manager: the process is gone afterwards.

    Args:
        cell: What it measures, for messages.
        threads: Also told to the libraries that read it from the environment.
        timeout_s: Longest wait for one answer.
        command: What to run.
    """

    def __init__(
        self, cell: Cell, *, threads: int, timeout_s: float, command: tuple[str, ...] = COMMAND
    ) -> None:
        self._cell = cell
        self._timeout_s = timeout_s
        self._pending = b""
        # a file, not a pipe: an engine that talks much must not block
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=_environment(threads),
        )

    def __enter__(self) -> CellProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            InvalidMeasurementError: The process died, was silent for too long, or talked nonsense.
            EdgecvError: The error that the cell reports, of its own kind.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._failure("died") from error
        line = self._read_line()
        try:
            reply = json.loads(line)
        except ValueError as error:
            raise self._failure(f"answered {line[:80]!r}") from error
        if not isinstance(reply, dict):
            raise self._failure(f"answered {line[:80]!r}")
        if "error" in reply:
            raise _rebuilt(reply["error"], self._cell.name)
        return reply

    def close(self) -> None:
        """End the process, by force if it does not go by itself within two seconds."""
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._stderr.close()

    def _read_line(self) -> bytes:
        assert self._process.stdout is not None
        handle = self._process.stdout.fileno()
        deadline = time.monotonic() + self._timeout_s
        while b"\n" not in self._pending:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([handle], [], [], left)[0]:
                raise self._failure(f"gave no answer within {self._timeout_s:g} s")
            part = os.read(handle, 1 << 16)
            if not part:
                raise self._failure("died")
            self._pending += part
        line, self._pending = self._pending.split(b"\n", 1)
        return line

    def _failure(self, what: str) -> InvalidMeasurementError:
        if what == "died":
            code = self._process.wait()
            what = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        self._stderr.seek(0)
        tail = self._stderr.read()[-_TAIL:].decode(errors="replace").strip()
        return InvalidMeasurementError(
            f"the measuring process of {self._cell.name!r} ('{self._cell.path}') {what}; it said:"
            f" {tail or 'nothing'}",
            cure="Run the same file with: edgecv predict",
        )


def _rebuilt(error: dict[str, Any], name: str) -> EdgecvError:
    """The cell's error as the same kind here."""
    kinds = {kind.__name__: kind for kind in EdgecvError.__subclasses__()}
    kind = kinds.get(str(error.get("kind")), EdgecvError)
    return kind(f"{name}: {error.get('what')}", cure=str(error.get("cure")))


def _environment(threads: int) -> dict[str, str]:
    """The parent's environment with thread pools bounded and bytecode caching on."""
    pools = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return kept | dict.fromkeys(pools, str(threads))
