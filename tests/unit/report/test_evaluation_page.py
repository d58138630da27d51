"""The page of an evaluation: every figure that the JSON has, every name escaped, nothing from outside."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from edgecv.data.model import Item
from edgecv.evaluate import Evaluation, compare, from_scores, measure
from edgecv.report.evaluation import render_evaluation, write_evaluation


def _evaluation(name: str, seed: int, classes: int = 4, kind: str = "logit") -> Evaluation:
    rng = np.random.default_rng(7)
    labels = rng.integers(0, classes, 120)
    items = tuple(
        Item(Path(f"{k}.png"), int(label), "test", str(k), f"{k:064x}")
        for k, label in enumerate(labels)
    )
    scores = np.random.default_rng(seed).normal(0, 1, (120, classes)).astype(np.float32)
    scores[np.arange(120), labels] += 1.5
    names = ("<script>alert(1)</script>", *(f"class {k}" for k in range(1, classes)))
    return from_scores(name, items, names, scores, score_kind=kind)


def _page(*evaluations: Evaluation) -> str:
    first, *others = evaluations
    pairs = [compare(first, other) for other in others]
    return render_evaluation(evaluations, [measure(e) for e in evaluations], pairs)


def test_what_it_shows() -> None:
    a, b = _evaluation("a.tflite on litert", 0), _evaluation("b <b>bold</b>", 1)
    page = _page(a, b)
    assert page.count("<svg") == 2
    assert page.count('<table class="matrix">') == 2
    assert f"{100 * a.top1.value:.2f} % [" in page
    difference = compare(a, b).record
    assert f"{100 * difference.difference.value:+.2f} [" in page
    for evaluation in (a, b):
        counts = evaluation.confusion
        assert counts.sum() == 120
        for right in np.diag(counts):
            assert f">{right}</td>" in page
    assert "<script" not in page
    assert "<b>bold" not in page
    assert not re.search(r"""(src|href)\s*=\s*["']?https?:""", page)
    assert re.search(r'aria-label="reliability of a.tflite on litert: \d+ % right at \d+ %', page)


def test_many_classes_and_no_calibration() -> None:
    page = _page(_evaluation("many", 0, classes=30, kind=""))
    assert '<table class="matrix">' not in page
    assert "<svg" not in page
    assert 'scope="col">answer' in page
    assert "are no probabilities" in page


def test_the_file_is_whole_or_not_there(tmp_path: Path) -> None:
    evaluation = _evaluation("a", 0)
    path = tmp_path / "page.html"
    write_evaluation(path, [evaluation], [measure(evaluation)], [])
    assert path.read_text(encoding="utf-8").endswith("</html>\n")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["logit", "probability"])
def test_bars_are_the_bins(kind: str) -> None:
    evaluation = _evaluation("a", 0)
    if kind == "probability":
        powers = np.exp(evaluation.scores)
        shares = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
        items = [
            Item(Path(p), int(n), "test", str(k), "0" * 64)
            for k, (p, n) in enumerate(zip(evaluation.paths, evaluation.labels, strict=True))
        ]
        evaluation = from_scores("a", tuple(items), evaluation.classes, shares, score_kind=kind)
    found = measure(evaluation).calibration
    assert found is not None
    label = re.search(r'aria-label="reliability of a: ([^"]*)"', _page(evaluation))
    assert label is not None
    assert len(label[1].split(", ")) == len(found.bins)
