"""The terminal view, for sessions over SSH."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

from edgecv.camera.frame import Answer
from edgecv.errors import require

if TYPE_CHECKING:
    from rich.console import RenderableType

    from edgecv.camera.pipeline import Pipeline

__all__ = ["TerminalView"]

_EVERY_S = 0.5


class TerminalView:
    """Redraws a table twice a second, frames or not. A context manager; a sink that needs no answers.

    Args:
        pipeline: What is shown.

    Raises:
        MissingExtraError: rich is not installed.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        require("rich", extra="camera")
        from rich.live import Live

        self._pipeline = pipeline
        self._live = Live(auto_refresh=False, transient=False)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edgecv-terminal", daemon=True)

    def __enter__(self) -> Self:
        self._live.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._draw()
        self._live.stop()

    def take(self, answer: Answer) -> None:
        """It is drawn by the clock."""

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self._draw()

    def _draw(self) -> None:
        self._live.update(_table(self._pipeline.stats(), self._events()), refresh=True)

    def _events(self) -> list[str]:
        return [event.text for event in self._pipeline.events.since(0)[-3:]]


def _table(stats: dict[str, Any], events: list[str]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    def shown_as(text: str, style: str = "") -> Text:
        return Text(_plain(text), style)

    head, answer = stats["headline"], stats["answer"]
    grid = Table.grid(padding=(0, 2))
    grid.add_row(head["title"], shown_as(_percent(head), style="bold"))
    if answer is not None:
        shown = f"{answer['label']} {answer['score']:.2f}"
        if answer["truth"] is not None:
            shown += f"  (is {answer['truth']})"
        grid.add_row("answer", shown_as(shown))
    grid.add_row("source", shown_as(f"{stats['source']['uri']}: {stats['source']['state']}"))
    for title, text in _drift_rows(stats):
        grid.add_row(title, shown_as(text))
    counts = f"{stats['frames_out']} of {stats['frames_in']}, {stats['frames_dropped']} dropped"
    grid.add_row("frames", f"{stats['fps_out']:.1f} per second; {counts}")
    for stage, values in stats["latency_ms"].items():
        if values["p50"] is not None:
            grid.add_row(
                stage,
                f"p50 {values['p50']:.2f}  p90 {values['p90']:.2f}  p99 {values['p99']:.2f} ms",
            )
    now, peak = stats["rss_bytes"] or 0, stats["peak_rss_bytes"] or 0
    memory = f"{now / 2**20:.0f} MiB, peak {peak / 2**20:.0f} MiB"
    heat = stats["temperature_c"]
    grid.add_row("machine", memory + ("" if heat is None else f", {heat:.0f} °C"))
    engine = (
        f"{stats['backend']}, {stats['threads']} thread(s), executes {stats['executed_precision']}"
    )
    grid.add_row("engine", shown_as(engine))
    return Group(grid, *(shown_as(text, style="dim") for text in events))


def _drift_rows(stats: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What a monitor and a float file say, where they are there."""
    drift, paired, shadow = stats["drift"], stats["against_float"], stats["shadow"]
    if drift is not None:
        if drift["estimated_top1"] is None:
            says = "not known yet"
        elif drift["inside_calibrated_range"]:
            says = f"estimated {100 * drift['estimated_top1']:.1f} %"
        else:
            says = "cannot tell"
        causes = ", ".join(drift["causes"] or ()) or "none"
        yield "drift", f"{says}; causes: {causes}"
        for alarm in drift["alarms"] or ():
            yield "", f"Alarm: {alarm}"
    if paired is not None:
        apart = "; fewer than on the reference pictures" if shadow["apart"] else ""
        yield "float", f"agrees on {100 * paired['agreement']:.1f} % of {paired['n']} frames{apart}"


def _percent(head: dict[str, Any]) -> str:
    if head["value"] is None:
        return str(head["says"])
    text = f"{100 * head['value']:.1f} %"
    if head["low"] is not None:
        text += f" ({100 * head['low']:.1f} to {100 * head['high']:.1f})"
    return text


def _plain(text: str) -> str:
    """Without what would steer the terminal: labels and addresses come from elsewhere."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
