"""Stratified splits that keep groups together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from edgecv.data.model import SPLITS, Dataset, Item
from edgecv.errors import InputError

__all__ = ["split"]


def split(
    dataset: Dataset, fractions: Mapping[str, float], *, seed: int = 0, of: str = ""
) -> Dataset:
    """Assign splits, stratified by class, without tearing a group or copies of a picture apart.

    Greedy (as scikit-learn's StratifiedGroupKFold): the largest groups first, in seeded random
    order among equals, each to the split that lacks most of the group's classes.

    Args:
        dataset: What was scanned.
        fractions: Split → share, e.g. ``{"train": 0.8, "val": 0.1, "test": 0.1}``; sums to 1.
        seed: Of the order.
        of: The split whose pictures are divided; ``""`` for a tree without splits. Others stay.

    Raises:
        InputError: Bad fractions, a split that would be overwritten, no pictures in *of*, or a
        class
            with too few groups to be in every split.
    """
    _check_fractions(fractions)
    members = dataset.of(of)
    clash = [name for name in fractions if name != of and name in dataset.splits]
    if clash:
        raise InputError(
            f"'{dataset.root}' has a split {clash[0]!r} already", cure="Divide another split."
        )
    chosen = _assign(_units(members), len(dataset.classes), fractions, seed)
    _check_complete(dataset, members, chosen, fractions)
    by_path = {item.path: name for item, name in chosen}
    items = [replace(i, split=by_path[i.path]) if i.path in by_path else i for i in dataset.items]
    return replace(dataset, items=tuple(items))


def _check_fractions(fractions: Mapping[str, float]) -> None:
    unknown = [name for name in fractions if name not in SPLITS]
    if unknown:
        raise InputError(f"unknown split {unknown[0]!r}", cure=f"Use {', '.join(SPLITS)}.")
    if any(not 0 < share <= 1 for share in fractions.values()) or not fractions:
        raise InputError(f"fractions {dict(fractions)}", cure="Each lies in (0, 1].")
    if abs(sum(fractions.values()) - 1) > 1e-9:
        raise InputError(f"fractions {dict(fractions)} do not sum to 1", cure="Make them sum to 1.")


def _units(items: Sequence[Item]) -> list[list[Item]]:
    """Items that must stay together: connected by group or by equal content."""
    parent: dict[str, str] = {}

    def find(key: str) -> str:
        while parent.setdefault(key, key) != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for item in items:
        parent[find("group:" + item.group)] = find("content:" + item.sha256)
    units: dict[str, list[Item]] = {}
    for item in items:
        units.setdefault(find("group:" + item.group), []).append(item)
    return list(units.values())


def _assign(
    units: list[list[Item]], classes: int, fractions: Mapping[str, float], seed: int
) -> list[tuple[Item, str]]:
    names = list(fractions)
    total = np.bincount([i.label for unit in units for i in unit], minlength=classes)
    shares = np.array([fractions[name] for name in names])
    lacking = shares[:, None] * total  # [splits, classes]
    # a rare class still gets one picture per split, at the cost of the largest
    raised = np.where(total > 0, np.maximum(lacking, 1.0), 0.0)
    lacking = raised
    largest = int(np.argmax(shares))
    lacking[largest] = total - (raised.sum(axis=0) - raised[largest])
    order = np.random.default_rng([seed, len(units)]).permutation(len(units))
    chosen = []
    for position in sorted(order, key=lambda p: -len(units[p])):
        unit = units[position]
        counts = Counter(item.label for item in unit)
        # in units of each class, so that a frequent class does not outvote a rare one
        need = sum(count / total[c] * lacking[:, c] for c, count in counts.items())
        best = int(np.argmax(need))
        for label, count in counts.items():
            lacking[best, label] -= count
        chosen += [(item, names[best]) for item in unit]
    return chosen


def _check_complete(
    dataset: Dataset,
    members: Sequence[Item],
    chosen: Sequence[tuple[Item, str]],
    fractions: Mapping[str, float],
) -> None:
    have = {(name, item.label) for item, name in chosen}
    for label in sorted({item.label for item in members}):
        missing = [name for name in fractions if (name, label) not in have]
        if missing:
            groups = len({item.group for item in members if item.label == label})
            raise InputError(
                f"the class {dataset.classes[label]!r} has {groups} groups of pictures,"
                f" too few to be in {', '.join(fractions)}",
                cure="Add pictures of other originals, use fewer splits, or try another seed.",
            )
