"""Plots as SVG text for an HTML page: colors are CSS variables, so that they follow light and dark."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

from edgecv.errors import MissingExtraError
from edgecv.report.model import FileRecord, Report
from edgecv.report.tables import milliseconds
from edgecv.stats import Estimate

__all__ = [
    "GRID",
    "INT8",
    "MUTED",
    "Plot",
    "accuracy",
    "as_svg",
    "block_medians",
    "differences",
    "latency",
    "latency_ranges",
    "methods",
    "plots",
]

# matplotlib wants real colors; these stand for CSS variables and are replaced in the SVG
_INK, MUTED, GRID, _FLOAT, INT8, _BAD = (f"#00010{n}" for n in range(6))
_VARIABLES = {
    _INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    _FLOAT: "--float",
    INT8: "--int8",
    _BAD: "--bad",
}
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 8.5,
    # a name such as "$x" is no formula
    "text.parse_math": False,
    "text.color": _INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.color": MUTED,
    "ytick.color": _INK,
    "ytick.major.size": 0,
    "axes.grid": True,
    "axes.grid.axis": "x",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.handletextpad": 0.5,
    "legend.columnspacing": 1.2,
}
_WIDTH = 4.4  # inches; the page scales it


@dataclass(frozen=True)
class Plot:
    """One picture of the page.

    Attributes:
        title: Above it.
        caption: Below it: what the marks mean.
        svg: An ``<svg>`` element, safe to embed as it is.
    """

    title: str
    caption: str
    svg: str


def plots(report: Report) -> tuple[Plot, ...]:
    """All plots for which the report has numbers.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    made = []
    if report.backends:
        made += [accuracy(report), differences(report)]
    if any(f.latency for row in report.backends for f in (row.float_file, row.int8_file)):
        made.append(latency(report))
    if report.methods:
        made.append(methods(report))
    return tuple(made)


def accuracy(report: Report) -> Plot:
    """Top-1 of float and int8 on every engine, with intervals."""

    def draw(axes: Any) -> None:
        for place, row in enumerate(report.backends):
            _dot(axes, place - 0.16, row.float_file.top1, _FLOAT, "o", 100)
            _dot(axes, place + 0.16, row.int8_file.top1, INT8, "D", 100)
        if report.float_model is not None:
            axes.axvline(
                100 * report.float_model.value, color=_FLOAT, linewidth=0.9, linestyle="--"
            )
            _legend(axes, ["float", "int8", "float in torch"])
        else:
            _legend(axes, ["float", "int8"])

    svg = _figure(draw, [row.backend for row in report.backends], "top-1, %", "accuracy")
    coverage = _coverage(row.int8_file.top1 for row in report.backends)
    return Plot("Accuracy", f"Dots are measured, lines {coverage} intervals.", svg)


def differences(report: Report) -> Plot:
    """int8 minus float on the same pictures, with the paired interval and the margin."""

    def draw(axes: Any) -> None:
        for place, row in enumerate(report.backends):
            _dot(axes, place, row.paired.difference, INT8, "D", 100, sign=True)
        axes.axvline(0, color=MUTED, linewidth=0.9)
        axes.axvline(-100 * report.margin, color=_BAD, linewidth=1.1, linestyle="--")
        low, high = axes.get_xlim()
        axes.set_xlim(min(low, -115 * report.margin), max(high, 30 * report.margin))
        _legend(axes, ["int8", "margin"])

    names = [row.backend for row in report.backends]
    svg = _figure(
        draw, names, "int8 minus float, percentage points", "differences", row_height=0.36
    )
    caption = (
        "The same pictures through both files. A loss within the margin is shown when the whole line"
        " lies right of the dashed one."
    )
    return Plot("Paired difference", caption, svg)


def latency(report: Report) -> Plot:
    """p50, p90 and p99 of one inference, float and int8."""

    def draw(axes: Any) -> None:
        for place, row in enumerate(report.backends):
            _percentiles(axes, place - 0.2, row.float_file, _FLOAT)
            _percentiles(axes, place + 0.2, row.int8_file, INT8)
        axes.set_xlim(left=0)
        _legend(axes, ["float", "int8", "p50", "p90", "p99"])

    names = [row.backend for row in report.backends]
    svg = _figure(draw, names, "one inference, ms", "latency", row_height=0.62)
    return Plot("Latency", "The number is p50. One thread, batch 1, fresh process per file.", svg)


def methods(report: Report) -> Plot:
    """Top-1 of every way to quantize, with the float model as a line."""

    def draw(axes: Any) -> None:
        for place, row in enumerate(report.methods):
            _dot(axes, place, row.top1, INT8, "D", 100)
        if report.float_model is not None:
            axes.axvline(
                100 * report.float_model.value, color=_FLOAT, linewidth=0.9, linestyle="--"
            )
        _legend(axes, ["quantized", "float in torch"][: 1 + (report.float_model is not None)])

    names = [f"{row.method}\n{row.bits} bits" for row in report.methods]
    svg = _figure(draw, names, "top-1, %", "methods", row_height=0.42)
    return Plot("QAT beside post-training", "All start from the same float model.", svg)


def latency_ranges(
    names: Sequence[str], marks: Sequence[tuple[float, float, float]], colors: Sequence[str]
) -> Plot:
    """p50, p90 and p99 of measurements, one row each.

    Args:
        names: Of the rows.
        marks: p50, p90, p99 in milliseconds.
        colors: ``"float"`` or ``"int8"`` per row.
    """

    def draw(axes: Any) -> None:
        for place, (mark, color) in enumerate(zip(marks, colors, strict=True)):
            _marks(axes, place, mark, INT8 if color == "int8" else _FLOAT)
        axes.set_xlim(left=0)
        # four entries are what fits beside long names
        _legend(axes, [*([] if len(set(colors)) == 1 else ["float", "int8"]), "p50", "p99"])

    svg = _figure(draw, names, "one answer, ms", "ranges", row_height=0.34)
    return Plot("Latency", "The number is p50; the tick between is p90.", svg)


def block_medians(names: Sequence[str], blocks: Sequence[Sequence[float]]) -> Plot:
    """Medians of the blocks of each measurement over its own median: drift and disturbance show.

    Args:
        names: Of the rows.
        blocks: Medians in milliseconds, in the order measured.
    """

    def draw(axes: Any) -> None:
        for place, medians in enumerate(blocks):
            middle = sorted(medians)[len(medians) // 2]
            for value in medians:
                axes.plot(
                    [value / middle], [place], color=INT8, marker="o", markersize=4, alpha=0.5
                )
        axes.axvline(1, color=MUTED, linewidth=0.9)

    svg = _figure(draw, names, "block median / median of blocks", "blocks", row_height=0.34)
    return Plot(
        "Steadiness", "Dots far from the line: something else happened on the machine.", svg
    )


def _dot(
    axes: Any,
    place: float,
    estimate: Estimate,
    color: str,
    marker: str,
    unit: float,
    *,
    sign: bool = False,
) -> None:
    """A point with its interval, and its value at the right edge."""
    low, high = max(estimate.low, -1.0), min(estimate.high, 1.0)
    axes.plot([unit * low, unit * high], [place, place], color=color, linewidth=2.2, alpha=0.55)
    axes.plot([unit * estimate.value], [place], color=color, marker=marker, markersize=5)
    text = f"{unit * estimate.value:+.2f}" if sign else f"{unit * estimate.value:.1f}"
    _at_edge(axes, place, text, color)


def _percentiles(axes: Any, place: float, record: FileRecord, color: str) -> None:
    if record.latency is None:
        return
    latency = record.latency
    _marks(axes, place, (latency.p50.value, latency.p90.value, latency.p99.value), color)


def _marks(axes: Any, place: float, marks: tuple[float, float, float], color: str) -> None:
    axes.plot([marks[0], marks[2]], [place, place], color=color, linewidth=2.2, alpha=0.55)
    for value, marker in zip(marks, ("o", "|", "d"), strict=True):
        axes.plot([value], [place], color=color, marker=marker, markersize=5.5, markeredgewidth=1.4)
    _at_edge(axes, place, milliseconds(marks[0]).removesuffix(" ms"), color)


def _at_edge(axes: Any, place: float, text: str, color: str) -> None:
    axes.text(
        1.02,
        place,
        text,
        color=color,
        transform=axes.get_yaxis_transform(),
        va="center",
        fontsize=8,
    )


def _legend(axes: Any, names: Sequence[str]) -> None:
    """Handles by name, above the axes."""
    from matplotlib.lines import Line2D

    looks: dict[str, dict[str, Any]] = {
        "float": {"color": _FLOAT, "marker": "o", "linestyle": ""},
        "int8": {"color": INT8, "marker": "D", "linestyle": ""},
        "quantized": {"color": INT8, "marker": "D", "linestyle": ""},
        "float in torch": {"color": _FLOAT, "linestyle": "--", "linewidth": 1},
        "margin": {"color": _BAD, "linestyle": "--", "linewidth": 1.1},
        "p50": {"color": MUTED, "marker": "o", "linestyle": ""},
        "p90": {"color": MUTED, "marker": "|", "linestyle": "", "markeredgewidth": 1.4},
        "p99": {"color": MUTED, "marker": "d", "linestyle": ""},
    }
    handles = [Line2D([], [], markersize=5, label=name, **looks[name]) for name in names]
    axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=len(names),
        borderpad=0,
    )


def _coverage(estimates: Any) -> str:
    values = {estimate.confidence for estimate in estimates}
    return " / ".join(f"{100 * value:g} %" for value in sorted(values))


def _figure(
    draw: Callable[[Any], None],
    names: Sequence[str],
    label: str,
    salt: str,
    *,
    row_height: float = 0.52,
) -> str:
    """Run *draw* on axes with one row per name and return the cleaned SVG."""

    def with_rows(axes: Any) -> None:
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.45, -0.55)
        axes.set_xlabel(label)
        draw(axes)

    height = 0.85 + row_height * len(names)
    return as_svg(with_rows, height, salt, f"{salt}: {', '.join(names)}")


def as_svg(draw: Callable[[Any], None], height: float, salt: str, description: str) -> str:
    """Run *draw* on axes and return the cleaned SVG.

    Args:
        draw: Gets matplotlib's axes.
        height: In inches, of a picture of the usual width.
        salt: Keeps ids of several pictures apart.
        description: For screen readers.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise MissingExtraError.of("matplotlib", "report") from error
    style: Any = {**_STYLE, "svg.hashsalt": salt}
    with mpl.rc_context(style), warnings.catch_warnings():
        # a name in a script that the font lacks is drawn by the browser's fonts
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        draw(figure.add_subplot())
        stream = StringIO()
        blank = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(stream, format="svg", transparent=True, metadata=blank)
    return _clean(stream.getvalue(), description.replace("\n", " "))


def _clean(svg: str, description: str) -> str:
    """Only the element, without fixed size, metadata, unused ids; colors as CSS variables."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    for color, name in _VARIABLES.items():
        svg = svg.replace(color, f"var({name})")
    start = re.compile(r'<svg [^>]*viewBox="([^"]*)"[^>]*>')
    label = re.sub(r"[<>&\"]", "", description)
    return start.sub(
        lambda m: (
            f'<svg viewBox="{m[1]}" role="img" aria-label="{label}"'
            ' xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
        ),
        svg,
        count=1,
    )
