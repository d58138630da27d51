"""A profile as plain JSON of some ten kilobytes, and the strict reader of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgecv.drift.answers import COLUMNS, Calibrator, Projection
from edgecv.drift.by_class import MOST_CLASSES, ByClass
from edgecv.drift.estimator import METHODS, Estimator, Forest
from edgecv.drift.numbers import Reader, damaged_profile, plain
from edgecv.drift.profile import VERSION, DriftProfile, FieldAudit, Reference
from edgecv.drift.quality import QUALITY
from edgecv.drift.window import FEATURES, VERSION_1
from edgecv.errors import ModelLoadError

__all__ = ["from_json", "to_json"]

_MOST_CLASSES: Final = 100_000
_VERSION: Final = re.compile(r"([0-9]{1,4})\.[0-9]{1,4}")
_SHARES: Final = ("top1", "low", "high")
#: Beyond every number of a window.
_ANY: Final = 1e12


def to_json(profile: DriftProfile) -> dict[str, Any]:
    """See :meth:`DriftProfile.as_json`."""
    c, r, e = profile.calibrator, profile.reference, profile.estimator
    default = float(np.median(c.precision))
    return {
        "version": VERSION,
        "identity": profile.identity,
        "classes": profile.classes,
        "columns": list(COLUMNS),
        "quality": list(QUALITY),
        "features": list(FEATURES),
        "calibrator": {
            "least": c.least,
            "temperature": c.temperature,
            "knots": plain(c.knots),
            "threshold": c.threshold,
            # most of a thousand classes were never answered and have the same value
            "precision": {"default": default, **_sparse(c.precision, default)},
            "projection": {
                "outputs": plain(c.projection.outputs),
                "matrix": plain(c.projection.matrix),
                "classes": plain(c.projection.classes),
                "means": plain(c.projection.means),
                "limit": c.projection.limit,
            },
        },
        "reference": {
            "pictures": r.pictures,
            "independent": r.independent,
            **{name: getattr(r, name) for name in _SHARES},
            "column_means": plain(r.column_means),
            "column_spreads": plain(r.column_spreads),
            "quality_means": plain(r.quality_means),
            "quality_spreads": plain(r.quality_spreads),
            "levels": list(r.levels),
            "quantiles": {name: plain(np.array(v), 4) for name, v in r.quantiles.items()},
            "counts": _sparse(r.counts, 0.0),
            "information": r.information,
            "variety": r.variety,
            "by_class": None if r.by_class is None else _by_class_json(r.by_class),
        },
        "signatures": {name: plain(table, 4) for name, table in profile.signatures.items()},
        "estimator": {
            "method": e.method,
            "coefficients": plain(e.coefficients),
            "forest": None if e.forest is None else _forest_json(e.forest),
            "errors": plain(e.errors, 4),
            "low": plain(e.low),
            "high": plain(e.high),
            "window": e.window,
            "widest": e.widest,
        },
        "held_out": {name: dict(row) for name, row in profile.held_out.items()},
        "against_float": None if profile.against_float is None else dict(profile.against_float),
        "audit": None if profile.audit is None else asdict(profile.audit),
    }


def _sparse(values: npt.NDArray[np.float64], default: float) -> dict[str, list[Any]]:
    at = np.flatnonzero(values != default)
    return {"at": plain(at), "values": plain(values[at])}


def _by_class_json(found: ByClass) -> dict[str, Any]:
    return {
        "classes": plain(found.classes),
        "columns": plain(found.columns, 3),
        "quality": plain(found.quality, 3),
    }


def _forest_json(forest: Forest) -> dict[str, Any]:
    """Leaves have no threshold, inner nodes no value: one list serves both."""
    leaf = forest.feature < 0
    return {
        "roots": plain(forest.roots),
        "feature": plain(forest.feature),
        "number": plain(np.where(leaf, forest.value, forest.threshold), 4),
        "left": plain(np.where(leaf, 0, forest.left - np.arange(len(leaf)))),
        "right": plain(np.where(leaf, 0, forest.right - np.arange(len(leaf)))),
    }


def from_json(values: Mapping[str, Any]) -> DriftProfile:
    """See :meth:`DriftProfile.from_json`."""
    top = Reader(values)
    major = _check_version(top.text("version"))
    read = VERSION_1 if major < 2 else len(FEATURES)
    for key, names in (("columns", COLUMNS), ("quality", QUALITY), ("features", FEATURES[:read])):
        top.names(key, names)
    classes = top.integer("classes", 2, _MOST_CLASSES)
    floats = top.take("against_float")
    if floats is not None and not isinstance(floats, Mapping):
        raise top.wrong("against_float", "an object or null")
    held_out = top.object("held_out")
    shapes = top.object("signatures")
    return DriftProfile(
        identity=top.text("identity"),
        calibrator=_calibrator(top.object("calibrator"), classes),
        reference=_reference(top.object("reference"), classes, major),
        signatures={
            name: shapes.array(name, (None, len(QUALITY)), low=-1e6, high=1e6)
            for name in shapes.keys()  # noqa: SIM118 - a method that checks, not a mapping's
        },
        estimator=_estimator(top.object("estimator"), read),
        held_out={
            name: {key: row.number(key) for key in row.keys()}  # noqa: SIM118
            for name, row in ((n, held_out.object(n)) for n in held_out.keys())  # noqa: SIM118
        },
        against_float=floats,
        audit=None if top.take("audit") is None else _audit(top.object("audit")),
    )


def _check_version(version: str) -> int:
    """The major version: 1 knows no classes' own means and fewer numbers of a window."""
    match = _VERSION.fullmatch(version)
    if match is None:
        raise damaged_profile(f"version is {version!r}")
    if int(match[1]) > int(VERSION.partition(".")[0]):
        raise ModelLoadError(
            f"its drift profile has version {version}, and this edgecv reads up to {VERSION}",
            cure="Upgrade with: pip install --upgrade edgecv (or the wheel that wrote the file).",
        )
    return int(match[1])


def _dense(reader: Reader, classes: int, default: float, high: float) -> npt.NDArray[np.float64]:
    if reader.take("at") == [] and reader.take("values") == []:
        return np.full(classes, default)
    at = reader.indices("at", None, 0, classes - 1)
    found = np.full(classes, default)
    found[at] = reader.array("values", (len(at),), low=0.0, high=high)
    return found


def _calibrator(reader: Reader, classes: int) -> Calibrator:
    knots = reader.array("knots", (None, 2), low=0.0, high=1.0, ascending=True)
    if (np.diff(knots[:, 1]) < 0).any():
        raise damaged_profile("calibrator.knots do not ascend")
    precision = reader.object("precision")
    p = reader.object("projection")
    outputs = p.indices("outputs", None, 0, classes - 1)
    known = p.indices("classes", None, 0, classes - 1)
    matrix = p.array("matrix", (None, len(outputs)))
    return Calibrator(
        least=reader.number("least", 1e-30, 0.5),
        temperature=reader.number("temperature", 1e-3, 1e3),
        knots=knots,
        threshold=reader.number("threshold", 0.0, 1.0),
        precision=_dense(precision, classes, precision.number("default", 0.0, 1.0), 1.0),
        projection=Projection(
            outputs,
            matrix,
            known,
            p.array("means", (len(known), len(matrix))),
            p.number("limit", 0.0, 1e6),
        ),
    )


def _column_means(reader: Reader, columns: tuple[int]) -> npt.NDArray[np.float64]:
    """Means; that of a share has to be one."""
    means = reader.array("column_means", columns)
    strange = float(means[COLUMNS.index("strange")])
    if not 0 <= strange <= 1:
        raise reader.wrong("column_means", f"a share for 'strange', not {strange:g},")
    return means


def _reference(reader: Reader, classes: int, major: int) -> Reference:
    levels = reader.array("levels", (None,), low=0.0, high=1.0, ascending=True)
    quantiles = reader.object("quantiles")
    columns, statistics = (len(COLUMNS),), (len(QUALITY),)
    top1, low, high = (reader.number(name, 0.0, 1.0) for name in _SHARES)
    counts = _dense(reader.object("counts"), classes, 0.0, 1e9)
    if not counts.any():
        raise damaged_profile("reference.counts are all 0")
    return Reference(
        pictures=reader.integer("pictures", 1, 10**9),
        independent=reader.integer("independent", 1, 10**9),
        top1=top1,
        low=low,
        high=high,
        column_means=_column_means(reader, columns),
        column_spreads=reader.array("column_spreads", columns, low=0.0),
        quality_means=reader.array("quality_means", statistics),
        quality_spreads=reader.array("quality_spreads", statistics, low=0.0),
        quantiles={
            name: tuple(quantiles.array(name, (len(levels),), ascending=True).tolist())
            for name in quantiles.keys()  # noqa: SIM118
        },
        levels=tuple(levels.tolist()),
        counts=counts,
        information=reader.number("information"),
        variety=reader.number("variety"),
        by_class=None
        if major < 2 or reader.take("by_class") is None
        else _by_class(reader.object("by_class"), classes),
    )


def _by_class(reader: Reader, classes: int) -> ByClass:
    known = reader.indices("classes", None, 0, classes - 1)
    if len(known) > MOST_CLASSES or (np.diff(known) <= 0).any():
        raise damaged_profile("reference.by_class.classes are too many or do not ascend")
    columns, statistics = (
        reader.array(key, (len(known), width), low=-1e3, high=1e3)
        for key, width in (("columns", len(COLUMNS)), ("quality", len(QUALITY)))
    )
    return ByClass(known, columns, statistics)


def _estimator(reader: Reader, size: int) -> Estimator:
    """Numbers that a profile of an older version does not know have no weight, and every value is inside."""
    method = reader.text("method")
    if method not in METHODS:
        raise reader.wrong("method", f"one of {', '.join(METHODS)}")
    more = len(FEATURES) - size
    coefficients = np.zeros(0)
    if method in ("ridge", "both", "guarded"):
        coefficients = np.append(reader.array("coefficients", (1 + size,)), np.zeros(more))
    forest = None
    if method in ("trees", "both", "guarded"):
        forest = _forest(reader.object("forest"), size)
    low, high = reader.array("low", (size,)), reader.array("high", (size,))
    return Estimator(
        method=method,
        coefficients=coefficients,
        forest=forest,
        errors=reader.array("errors", (None, 3), low=-1.0, high=1.0, ascending=True),
        low=np.append(low, np.full(more, -_ANY)),
        high=np.append(high, np.full(more, _ANY)),
        window=reader.integer("window", 1, 10**6),
        widest=reader.number("widest", 0.0, 2.0),
    )


def _forest(reader: Reader, size: int) -> Forest:
    feature = reader.indices("feature", None, -1, size - 1)
    nodes = len(feature)
    number = reader.array("number", (nodes,))
    left, right = (reader.indices(key, nodes, 0, nodes) for key in ("left", "right"))
    places = np.arange(nodes)
    leaf = feature < 0
    # a child that comes after its parent cannot lead around in a circle
    for key, steps in (("left", left), ("right", right)):
        if (~leaf & ((steps < 1) | (places + steps >= nodes))).any():
            raise damaged_profile(f"estimator.forest.{key} leads out of the forest")
    return Forest(
        roots=reader.indices("roots", None, 0, nodes - 1),
        feature=feature,
        threshold=np.where(leaf, 0.0, number),
        left=np.where(leaf, 0, left + places),
        right=np.where(leaf, 0, right + places),
        value=np.where(leaf, number, 0.0),
    )


def _audit(reader: Reader) -> FieldAudit:
    top1, low, high = (reader.number(name, 0.0, 1.0) for name in _SHARES)
    return FieldAudit(
        frames=reader.integer("frames", 1, 10**9),
        top1=top1,
        low=low,
        high=high,
        estimated=reader.number("estimated", 0.0, 1.0),
        shift=reader.number("shift", -1.0, 1.0),
    )
