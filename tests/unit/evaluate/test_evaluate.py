"""Evaluation with a model that knows two colors."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgecv.artifact.manifest import Manifest, Preprocess
from edgecv.data import Dataset, scan
from edgecv.errors import InputError, InvalidMeasurementError
from edgecv.evaluate import PixelCache, compare, evaluate, from_scores, near_tie_check
from edgecv.preprocess import prepare
from edgecv.results import ModelInfo
from edgecv.spec.types import INPUT_QUANT, QuantParams, TensorSpec

STEP = QuantParams(0.5, 0)


class ColorModel:
    """Scores (red - blue, blue - red) of the mean pixel; int8 in and out."""

    def __init__(
        self,
        preprocess: Preprocess | None,
        *,
        outputs: int = 2,
        bias: float = 0.0,
        nan: bool = False,
    ) -> None:
        self.calls = 0
        self._bias, self._nan = bias, nan
        height, width = preprocess.size if preprocess else (4, 6)
        inputs = (TensorSpec("input", (1, height, width, 3), "int8", "NHWC", INPUT_QUANT),)
        output = TensorSpec("logits", (1, outputs), "float32" if nan else "int8", "NC",
                            None if nan else STEP)  # fmt: skip
        manifest = Manifest(("blue", "red"), preprocess, inputs, (output,), "int8")
        self.info = ModelInfo(
            Path("color.tflite"),
            "tflite",
            "fake",
            "1",
            1,
            inputs,
            (output,),
            "intact",
            "int8",
            manifest,
            labels=manifest.labels,
            preprocess=preprocess,
        )

    def infer(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        assert inputs.dtype == np.int8
        assert inputs.shape == self.info.inputs[0].shape
        self.calls += 1
        real = (inputs.astype(np.float64) + 128).mean(axis=(0, 1, 2)) / 4
        score = real[0] - real[2] + self._bias
        if self._nan:
            return {"logits": np.array([[math.nan, score]], np.float32)}
        return {
            "logits": np.clip(np.rint([[-score / 0.5, score / 0.5]]), -128, 127).astype(np.int8)
        }


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """20 red and 20 blue pictures, some of them faint; groups of four."""
    rng = np.random.default_rng(0)
    rows = ["file,group"]
    for name, channel in (("red", 0), ("blue", 2)):
        for number in range(20):
            pixels = rng.integers(80, 90, (9, 13, 3), np.uint8)
            pixels[..., channel] += 60 if number < 15 else 1
            path = tmp_path / "pictures" / name / f"{number:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
            rows.append(f"{name}/{number:02d}.png,{name}-{number // 4}")
    (tmp_path / "pictures" / "groups.csv").write_text("\n".join(rows) + "\n")
    return scan(tmp_path / "pictures")


PREPROCESS = Preprocess(size=(4, 6), crop_fraction=0.8, interpolation="bilinear")


def test_scores_are_what_the_model_says_of_each_picture(dataset: Dataset) -> None:
    model = ColorModel(PREPROCESS)
    result = evaluate(model, dataset.items, dataset.classes)
    assert result.scores.dtype == np.float32
    assert result.scores.shape == (40, 2)
    pixels = prepare(dataset.items[-1].path, PREPROCESS).astype(np.float64)
    score = (pixels[..., 0].mean() - pixels[..., 2].mean()) / 4
    assert result.scores[-1].tolist() == pytest.approx([-score, score], abs=0.26)
    assert result.name == "color.tflite on fake"
    assert result.top1.value == (result.answers == result.labels).mean()
    assert 0.75 <= result.top1.value < 1
    assert result.confusion.sum() == 40
    assert np.trace(result.confusion) == round(40 * result.top1.value)
    assert [e.value for e in result.per_class if e] == pytest.approx(
        [result.confusion[k, k] / 20 for k in range(2)]
    )


def test_ties_are_counted(dataset: Dataset) -> None:
    scores = np.zeros((len(dataset.items), 2), np.float32)
    assert from_scores("x", dataset.items, dataset.classes, scores).ties == 40
    scores[:30, 1] = 1
    tied = from_scores("x", dataset.items, dataset.classes, scores)
    assert tied.ties == 10
    assert tied.answers.tolist() == [1] * 30 + [0] * 10


def test_a_color_swap_costs_everything(dataset: Dataset) -> None:
    swapped = Preprocess(size=(4, 6), crop_fraction=0.8, interpolation="bilinear", color="bgr")
    right = evaluate(ColorModel(PREPROCESS), dataset.items, dataset.classes)
    wrong = evaluate(ColorModel(swapped), dataset.items, dataset.classes)
    assert right.top1.low > wrong.top1.high


def test_labels_follow_the_model(dataset: Dataset) -> None:
    moved = dataset.relabel(["red", "blue"])
    result = evaluate(ColorModel(PREPROCESS), moved.items, moved.classes)
    assert result.top1.value < 0.3


def test_groups_decide_the_kind_of_interval(dataset: Dataset) -> None:
    grouped = evaluate(ColorModel(PREPROCESS), dataset.items, dataset.classes)
    assert "effective n" in grouped.top1.method
    (dataset.root / "groups.csv").unlink()
    alone = evaluate(ColorModel(PREPROCESS), scan(dataset.root).items, dataset.classes)
    assert alone.top1.method == "wilson"


def test_errors_come_surest_first(dataset: Dataset) -> None:
    result = evaluate(ColorModel(PREPROCESS, bias=30), dataset.items, dataset.classes)
    assert (result.answers[result.errors] != result.labels[result.errors]).all()
    assert len(result.errors) == 40 - np.trace(result.confusion)
    assert (np.diff(result.margins[result.errors]) <= 0).all()


class TestCache:
    def test_pictures_are_prepared_once_for_equal_geometry(
        self, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made: list[Path] = []

        def counting(path: Path, preprocess: Preprocess) -> Any:
            made.append(path)
            return prepare(path, preprocess)

        monkeypatch.setattr("edgecv.evaluate.pixels.prepare", counting)
        cache = PixelCache()
        folded = PREPROCESS
        apart = Preprocess(
            size=(4, 6), crop_fraction=0.8, interpolation="bilinear", color="bgr", mean=(0.5,) * 3
        )
        first = evaluate(ColorModel(folded), dataset.items, dataset.classes, cache=cache)
        assert len(made) == 40
        assert cache.held_bytes == 40 * 4 * 6 * 3
        evaluate(ColorModel(apart), dataset.items, dataset.classes, cache=cache)
        assert len(made) == 40
        other = Preprocess(size=(4, 6), crop_fraction=1.0)
        evaluate(ColorModel(other), dataset.items, dataset.classes, cache=cache)
        assert len(made) == 80
        again = evaluate(ColorModel(folded), dataset.items, dataset.classes, cache=cache)
        assert len(made) == 80
        assert np.array_equal(first.scores, again.scores)

    def test_the_bound_is_kept_and_results_do_not_depend_on_it(self, dataset: Dataset) -> None:
        small, large = PixelCache(500), PixelCache()
        a = evaluate(ColorModel(PREPROCESS), dataset.items, dataset.classes, cache=small)
        b = evaluate(ColorModel(PREPROCESS), dataset.items, dataset.classes, cache=large)
        assert small.held_bytes <= 500
        assert np.array_equal(a.scores, b.scores)

    def test_what_is_held_cannot_be_written_to(self, dataset: Dataset) -> None:
        cache = PixelCache()
        cache.get(dataset.items[0].path, PREPROCESS)
        with pytest.raises(ValueError, match="read-only"):
            cache.get(dataset.items[0].path, PREPROCESS)[:] = 0


@pytest.mark.parametrize(
    ("model", "classes", "message"),
    [
        (
            ColorModel(None),
            ("blue", "red"),
            "color.tflite on fake: nobody says how a picture becomes",
        ),
        (ColorModel(PREPROCESS, outputs=3), ("blue", "red"), "3 outputs for 2 classes"),
    ],
)
def test_models_that_cannot_be_evaluated(
    dataset: Dataset, model: ColorModel, classes: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        evaluate(model, dataset.items, classes)
    assert model.calls == 0


def test_no_pictures_and_wrong_labels(dataset: Dataset) -> None:
    with pytest.raises(InputError, match="no pictures"):
        evaluate(ColorModel(PREPROCESS), (), dataset.classes)
    moved = dataset.relabel(["x", "blue", "red"])
    with pytest.raises(InputError, match="label 2 of 2 classes"):
        evaluate(ColorModel(PREPROCESS), moved.items, ("blue", "red"))


def test_scores_that_are_no_numbers(dataset: Dataset) -> None:
    with pytest.raises(InvalidMeasurementError, match=r"00\.png' are not finite \(40 pictures\)"):
        evaluate(ColorModel(PREPROCESS, nan=True), dataset.items, dataset.classes)


def test_progress_reaches_the_end(dataset: Dataset) -> None:
    calls: list[tuple[int, int]] = []
    evaluate(
        ColorModel(PREPROCESS),
        dataset.items,
        dataset.classes,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls[-1] == (40, 40)


class TestCompare:
    @pytest.fixture
    def pair(self, dataset: Dataset) -> Callable[..., Any]:
        rng = np.random.default_rng(3)
        base = rng.normal(0, 2, (40, 2)).astype(np.float32)

        def make(shift: np.ndarray | float) -> Any:
            a = from_scores("a", dataset.items, dataset.classes, base)
            b = from_scores("b", dataset.items, dataset.classes, base + shift)
            return compare(a, b)

        return make

    def test_equal_models(self, pair: Callable[..., Any]) -> None:
        same = pair(0.0)
        assert same.record.agreement.value == 1
        assert same.record.flips == 0
        assert (same.max_difference, same.mean_difference, same.kl) == (0, 0, 0)
        assert same.sqnr_db == math.inf
        assert near_tie_check(same).passed

    def test_numbers_against_plain_formulas(
        self, pair: Callable[..., Any], dataset: Dataset
    ) -> None:
        rng = np.random.default_rng(4)
        noise = rng.normal(0, 0.5, (40, 2)).astype(np.float32)
        result = pair(noise)
        base = np.random.default_rng(3).normal(0, 2, (40, 2)).astype(np.float32)
        moved = base + noise
        difference = base.astype(np.float64) - moved
        assert result.max_difference == pytest.approx(np.abs(difference).max())
        assert result.mean_difference == pytest.approx(np.abs(difference).mean())
        p, q = (np.exp(x) / np.exp(x).sum(1, keepdims=True) for x in (base, moved))
        assert result.kl == pytest.approx((p * np.log(p / q)).sum(1).mean(), rel=1e-4)
        ratio = (base.astype(np.float64) ** 2).sum() / (difference**2).sum()
        assert result.sqnr_db == pytest.approx(10 * math.log10(ratio))
        assert list(result.disagreements) == list(np.flatnonzero(base.argmax(1) != moved.argmax(1)))
        assert result.margins == pytest.approx(
            np.abs(base[:, 0] - base[:, 1])[result.disagreements]
        )
        labels = np.array([i.label for i in dataset.items])
        lost = ((base.argmax(1) == labels) & (moved.argmax(1) != labels)).sum()
        assert result.record.to_wrong == lost

    def test_a_disagreement_that_is_no_tie_is_found(self, pair: Callable[..., Any]) -> None:
        shift = np.zeros((40, 2), np.float32)
        base = np.random.default_rng(3).normal(0, 2, (40, 2)).astype(np.float32)
        row = int(np.argmax(base[:, 0] - base[:, 1]))
        shift[row, 1] = 2 * (base[row, 0] - base[row, 1])
        result = pair(shift)
        assert near_tie_check(result).passed  # by construction: the bound grew with the fault
        strict = near_tie_check(result, limit=0.5)
        assert (strict.passed, strict.far, strict.near) == (False, (row,), 0)
        with pytest.raises(InputError, match="negative"):
            near_tie_check(result, limit=-1)

    def test_other_pictures_are_refused(self, dataset: Dataset) -> None:
        scores = np.zeros((40, 2), np.float32)
        a = from_scores("a", dataset.items, dataset.classes, scores)
        fewer = from_scores("b", dataset.items[1:], dataset.classes, scores[1:])
        turned = from_scores("b", dataset.items[::-1], dataset.classes, scores)
        named = from_scores("b", dataset.items, ("x", "y"), scores)
        for other, message in ((fewer, "different pictures"), (turned, "different pictures"),
                               (named, "different classes")):  # fmt: skip
            with pytest.raises(InputError, match=message):
                compare(a, other)


def test_tables_of_another_shape_are_refused(dataset: Dataset) -> None:
    with pytest.raises(InputError, match="scores of shape"):
        from_scores("a", dataset.items, dataset.classes, np.zeros((40, 3)))
    with pytest.raises(InputError, match="scores of shape"):
        from_scores("a", dataset.items, ("only",), np.zeros((40, 1)))
