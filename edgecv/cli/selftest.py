"""``edgecv selftest``: a small model of the project's own on every engine that is installed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecv.cli.evaluating import refuse_existing
from edgecv.cli.options import Progress
from edgecv.errors import GateError, MissingExtraError

if TYPE_CHECKING:
    from edgecv.selftest import EngineReport, SelftestReport
    from edgecv.selftest.proof import Proof

__all__ = ["command"]


@click.command(name="selftest")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.option(
    "--backend",
    "backends",
    multiple=True,
    metavar="NAME",
    help="Only this engine (may be given several times). Default: litert, openvino, onnxruntime.",
)
@click.option(
    "--report",
    "report_path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Prove the rest, too, and write it as JSON: speed and heat under a minute of load per engine,"
    " memory, a frame of the camera.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 3600),
    default=60.0,
    show_default=True,
    help="Load per engine for --report.",
)
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
def command(
    as_json: bool,
    backends: tuple[str, ...],
    report_path: Path | None,
    seconds: float,
    overwrite: bool,
) -> None:
    """Run a small digits model on every engine that is installed.

    Says whether the answers are right and the integers are the recorded ones (LiteRT: all of them;
    OpenVINO: within 8 output steps; ONNX Runtime: within 16), what the engine executes, latency,
    memory, and the command that adds an engine that is missing. Exit code 0 when every engine that
    is installed passes, 1 when one fails, 2 when there is none. With --report, each claim is shown,
    not shown (this machine cannot show it), or failed, which ends with 1, too.

    \b
    edgecv selftest
    edgecv selftest --report board.json
    """
    from edgecv.selftest import run_selftest
    from edgecv.selftest.run import ENGINES

    chosen, progress = tuple(dict.fromkeys(backends)) or ENGINES, Progress()
    if report_path is not None:
        refuse_existing(report_path, overwrite=overwrite)
        proof = _prove(chosen, report_path, seconds, progress)
        report = proof.selftest
    else:
        proof = None
        report = run_selftest(chosen, progress=progress.step)
    progress.done()
    click.echo(json.dumps(_to_json(report), indent=1) if as_json else _to_text(report))
    if proof is not None and not as_json:
        click.echo(f"\n{proof.to_text()}\n\n{report_path}")
    if not report.present:
        raise MissingExtraError(
            "no engine is installed", cure="Install one with: pip install 'edgecv[litert]'"
        )
    if report.failed:
        raise GateError(
            f"{report.failed[0].backend} failed: {report.failed[0].problem}",
            cure=report.failed[0].cure,
        )
    if proof is not None and proof.failed:
        claim = proof.failed[0]
        raise GateError(f"{claim.name}: {claim.found}", cure="See docs/boards.md.")


def _prove(backends: tuple[str, ...], path: Path, seconds: float, progress: Progress) -> Proof:
    """Run it and write the record."""
    from edgecv.artifact import write_atomically
    from edgecv.selftest.proof import prove

    proof = prove(backends, seconds=seconds, progress=progress.step)
    write_atomically(path, (json.dumps(proof.to_json(), indent=1) + "\n").encode())
    return proof


def _to_json(report: SelftestReport) -> dict[str, Any]:
    return {
        "schema": "1.0",
        "passed": bool(report.present) and not report.failed,
        "engines": [dataclasses.asdict(engine) for engine in report.engines],
        "environment": report.environment,
    }


def _to_text(report: SelftestReport) -> str:
    found = report.environment
    machine = found["board"] or found["cpu"] or found["machine"]
    edgecv = found["packages"].get("edgecv", "")
    lines = [f"edgecv {edgecv} on {machine} ({found['machine']}), Python {found['python']}"]
    width = max(len(f"{engine.backend} {engine.version}") for engine in report.engines)
    words = {"passed": "ok", "failed": "FAILED", "absent": "absent"}
    for engine in report.engines:
        name = f"{engine.backend} {engine.version}".strip()
        lines.append(f"{words[engine.state]:<6}  {name:<{width}}  {_told(engine)}")
    doubtful = [engine for engine in report.present if not engine.valid]
    if doubtful:
        names = ", ".join(engine.backend for engine in doubtful)
        lines.append(f"Latency is not to be trusted ({names}): {' '.join(doubtful[0].reasons)}")
    return "\n".join(lines)


def _told(engine: EngineReport) -> str:
    if engine.state == "absent":
        return engine.cure
    parts = [engine.problem] if engine.problem else []
    if engine.difference is not None:
        parts.append(f"{engine.right} of {engine.pictures} digits")
        parts.append(_integers(engine))
    if engine.p50_ms is not None and engine.peak_rss_bytes is not None:
        parts.append(f"p50 {engine.p50_ms:.3f} ms")
        parts.append(f"peak {engine.peak_rss_bytes / 2**20:.0f} MiB")
        parts.append(f"executes {engine.precision}")
    return ", ".join(parts)


def _integers(engine: EngineReport) -> str:
    if engine.tolerance is None:
        return f"integers within {engine.difference} of the recorded ones (not judged)"
    if engine.difference == 0:
        return "integers as recorded"
    return f"integers within {engine.difference} of the recorded ones (allowed: {engine.tolerance})"
