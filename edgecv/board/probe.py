"""Asking a machine: every answer is a value, or the reason why there is none. Nothing is guessed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

__all__ = ["Fact", "Machine", "absent"]

T = TypeVar("T")
Run = Callable[..., "subprocess.CompletedProcess[str]"]

#: A file of /proc or /sys that is longer is none that is read here.
_MOST_BYTES = 1 << 20
_SECONDS = 5.0


@dataclass(frozen=True)
class Fact(Generic[T]):
    """One thing about a machine.

    Attributes:
        value: Or None.
        reason: Why there is no value; empty when there is one.
    """

    value: T | None
    reason: str = ""

    def __post_init__(self) -> None:
        assert (self.value is None) == bool(self.reason), self


def absent(reason: str) -> Fact[T]:
    """A fact without a value."""
    return Fact(None, reason)


@dataclass(frozen=True)
class Machine:
    """Where a machine is read.

    Attributes:
        root: Where /proc and /sys hang; another folder in tests.
        run: Starts commands, with the interface of :func:`subprocess.run`.
    """

    root: Path = Path("/")
    run: Run = field(default=subprocess.run, repr=False)

    def text(self, path: str) -> Fact[str]:
        """Content of a file, without the NUL and the newline at its end.

        Args:
            path: Without the leading slash.
        """
        try:
            with (self.root / path).open("rb") as file:
                data = file.read(_MOST_BYTES)
        except FileNotFoundError:
            return absent(f"there is no /{path}")
        except OSError as error:
            return absent(f"/{path} cannot be read: {error.strerror or error}")
        text = data.decode(errors="replace").rstrip("\x00\n ")
        return Fact(text) if text else absent(f"/{path} is empty")

    def number(self, path: str) -> Fact[int]:
        """A file that holds one decimal number."""
        text = self.text(path)
        if text.value is None:
            return absent(text.reason)
        try:
            return Fact(int(text.value))
        except ValueError:
            return absent(f"/{path} holds {text.value[:40]!r}, not a number")

    def names(self, path: str) -> list[str]:
        """Entries of a folder, sorted; none when there is no such folder."""
        try:
            return sorted(entry.name for entry in (self.root / path).iterdir())
        except OSError:
            return []

    def command(self, *words: str) -> Fact[str]:
        """What a command prints, within five seconds.

        Args:
            *words: The program and its arguments; no shell.
        """
        shown = " ".join(words)
        try:
            done = self.run(
                list(words),
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_SECONDS,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except FileNotFoundError:
            return absent(f"the program {words[0]!r} is not installed")
        except subprocess.TimeoutExpired:
            return absent(f"'{shown}' gave no answer within {_SECONDS:g} s")
        except OSError as error:
            return absent(f"'{shown}' cannot be run: {error.strerror or error}")
        said = (done.stdout or "").strip()
        if done.returncode:
            complaint = (done.stderr or done.stdout or "").strip().splitlines()
            tail = f": {complaint[-1][:120]}" if complaint else ""
            return absent(f"'{shown}' ended with code {done.returncode}{tail}")
        return Fact(said) if said else absent(f"'{shown}' printed nothing")


def fields(text: str, separator: str = ":") -> list[dict[str, str]]:
    """Blocks of ``key: value`` lines between empty lines, as /proc/cpuinfo has them."""
    blocks: list[dict[str, str]] = [{}]
    for line in text.splitlines():
        if not line.strip():
            blocks.append({})
            continue
        key, found, value = line.partition(separator)
        if found:
            blocks[-1].setdefault(key.strip(), value.strip())
    return [block for block in blocks if block]


def joined(values: Sequence[object]) -> str:
    """Values without repetition, in order, with their number where it is more than one.

    >>> joined(["a", "a", "b"])
    '2 x a, b'
    """
    counts = {value: values.count(value) for value in dict.fromkeys(values)}
    return ", ".join(f"{n} x {value}" if n > 1 else str(value) for value, n in counts.items())
