"""Records of benchmarks: what was measured, on what, and whether it can be trusted.

One JSON file per benchmark and machine in ``benchmarks/records``; ``collate.py`` makes ``docs/benchmarks.md``
of them. In every row less is better. Any script writes one::

    watch = Watch()
    rows = [Row("mobilevit_xxs:256 on LiteRT, int8 over float", 0.56, "ratio", bar=1.0)]
    write(Path("benchmarks/records"), "integer_models", "python benchmarks/integer_models.py", rows, watch)
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edgecv.measure import Watch, environment

FORMAT = 1
#: Beyond those that edgecv itself records.
PACKAGES = ("opencv-python-headless", "simplejpeg", "timm", "torch", "pytest-benchmark")


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        name: What was measured.
        value: Less is better.
        unit: E.g. ``"µs"``, ``"ms"``, ``"MiB"``, ``"ratio"``.
        bar: What it has to stay at or below, or None.
        note: Figures beside it, as text.
        detail: Further figures by name, with their unit at its end.
    """

    name: str
    value: float
    unit: str
    bar: float | None = None
    note: str = ""
    detail: dict[str, float] = field(default_factory=dict)

    @property
    def behind(self) -> bool:
        """Whether the bar is missed."""
        return self.bar is not None and self.value > self.bar


@dataclass(frozen=True)
class Record:
    """What one run of one benchmark found.

    Attributes:
        benchmark: Name of the script.
        command: What repeats it.
        date: Of the run, ISO.
        environment: Of the machine, as ``edgecv.measure.environment`` gives it, with more packages.
        valid: Whether the times can be trusted.
        reasons: Why not.
        rows: In the order of the script.
    """

    benchmark: str
    command: str
    date: str
    environment: dict[str, Any]
    valid: bool
    reasons: tuple[str, ...]
    rows: tuple[Row, ...]


def machine(env: dict[str, Any]) -> str:
    """The hardware, as one line; figures of two lines are not compared."""
    name = env["board"] or env["cpu"] or "unknown processor"
    cores = "1 core" if env["cores"] == 1 else f"{env['cores']} cores"
    return f"{name} ({env['machine']}), {cores}"


def full_environment() -> dict[str, Any]:
    """This machine and everything whose version matters."""
    env = environment()
    packages = dict(env["packages"])
    for package in PACKAGES:
        try:
            packages[package] = version(package)
        except PackageNotFoundError:
            continue
    return {**env, "packages": packages}


def write(folder: Path, benchmark: str, command: str, rows: Sequence[Row], watch: Watch) -> Path:
    """Write a record, in place of an older one of the same benchmark on the same kind of machine.

    Args:
        folder: ``benchmarks/records``, or one of your own.
        benchmark: Name of the script.
        command: What repeats it.
        rows: At least one.
        watch: Made before the first measurement.
    """
    env, verdict = full_environment(), watch.validity()
    document = {
        "format": FORMAT,
        "benchmark": benchmark,
        "command": command,
        "date": time.strftime("%Y-%m-%d"),
        "environment": env,
        "valid": verdict.valid,
        "reasons": list(verdict.reasons),
        "rows": [asdict(row) for row in rows],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{benchmark}.{env['machine']}.json"
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")
    return path


def read(path: Path) -> Record:
    """Read a record.

    Raises:
        ValueError: It is of another format.
    """
    document = json.loads(path.read_text(encoding="utf-8"))
    if document.pop("format") != FORMAT:
        raise ValueError(f"{path} is not a record of format {FORMAT}")
    rows = tuple(Row(**row) for row in document.pop("rows"))
    return Record(**{**document, "reasons": tuple(document["reasons"])}, rows=rows)
