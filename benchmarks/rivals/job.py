"""What a rival's script is asked and what it answers; standard library only, for foreign interpreters.

The script is started as ``python by_<tool>.py JOB.json``. Whatever happens to it, its cost is written to
the job's ``report`` when the process ends: CPU seconds with those of its children, per stage and in all,
peak resident memory and the versions of the packages it named.
"""

from __future__ import annotations

import atexit
import json
import resource
import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

__all__ = ["Job", "read_job"]


@dataclass
class Job:
    """One conversion.

    Attributes:
        arch: Name of the timm model.
        route: Which way of the tool's to go.
        weights: Its state dict, normalization folded into the first convolution.
        pictures: ``.npy``, float32 [N, 3, H, W] in [0, 1], for calibration.
        qdq: The quantized ONNX file; a copy that may be overwritten.
        plain: The float ONNX file; likewise.
        out: The TFLite file to write.
        report: Where the cost goes, as JSON.
    """

    arch: str
    route: str
    weights: Path
    pictures: Path
    qdq: Path
    plain: Path
    out: Path
    report: Path
    _stages: dict[str, float] = field(default_factory=dict)
    _versions: dict[str, str] = field(default_factory=dict)

    def stage(self, name: str) -> None:
        """The part of the process from the last stage to here was *name*."""
        self._stages[name] = _cpu_seconds() - sum(self._stages.values())

    def used(self, *packages: str) -> None:
        """Put the versions of *packages* into the report."""
        self._versions.update({package: version(package) for package in packages})

    def _write(self) -> None:
        found = {
            "cpu_s": _cpu_seconds(),
            "rss_mb": _peak_mb(),
            "stages": self._stages,
            "versions": self._versions,
        }
        self.report.write_text(json.dumps(found), encoding="utf-8")


def read_job() -> Job:
    """The job that the first argument names; its report is written when the process ends."""
    asked = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    paths = {name: Path(value) for name, value in asked.items() if name not in ("arch", "route")}
    job = Job(asked["arch"], asked["route"], **paths)
    atexit.register(job._write)
    return job


def _cpu_seconds() -> float:
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def _peak_mb() -> float:
    # ru_maxrss keeps the parent's peak across fork and exec
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1024
