"""Metrics, kept scores and pairs, on made-up scores whose answers are known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support, top_k_accuracy_score

from edgecv.artifact.manifest import Preprocess
from edgecv.data.model import Item
from edgecv.errors import InputError
from edgecv.evaluate import Evaluation, PredictionStore, from_scores, measure
from edgecv.evaluate.paired import detail
from edgecv.results import ModelInfo

CLASSES = ("ant", "bee", "cat", "dog")


def _evaluation(
    scores: np.ndarray, labels: np.ndarray, *, kind: str = "logit", name: str = "m"
) -> Evaluation:
    items = [Item(Path(f"{k}.png"), int(x), "", str(k), f"{k:064x}") for k, x in enumerate(labels)]
    return from_scores(name, items, CLASSES, scores, score_kind=kind)


@pytest.fixture
def drawn() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)  # no dogs
    scores = rng.normal(0, 1, (300, 4)) + 1.5 * np.eye(4)[labels]
    return scores.astype(np.float32), labels


def test_metrics_are_scikit_learns(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    scores, labels = drawn
    found = measure(_evaluation(scores, labels), top_k=(1, 2, 9))
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, scores.argmax(1), labels=range(4), zero_division=0
    )
    for number, row in enumerate(found.classes):
        assert row.pictures == support[number]
        assert (row.precision.value if row.precision else 0) == pytest.approx(precision[number])
        assert (row.recall.value if row.recall else 0) == pytest.approx(recall[number])
        assert (row.f1 or 0) == pytest.approx(f1[number])
    assert found.classes[3].recall is None
    assert set(found.top_k) == {1, 2}
    assert found.top_k[2].value == pytest.approx(
        top_k_accuracy_score(labels, scores, k=2, labels=range(4))
    )
    assert found.macro_f1 == pytest.approx(f1[:3].mean())
    assert found.worst.label == CLASSES[int(np.argmin(recall[:3]))]
    assert found.calibration is not None
    json.dumps(found.to_json(), allow_nan=False)


def test_without_probabilities_there_is_no_calibration(
    drawn: tuple[np.ndarray, np.ndarray],
) -> None:
    found = measure(_evaluation(*drawn, kind=""))
    assert found.calibration is None
    assert "adopt" in found.calibration_missing
    with pytest.raises(InputError, match="top-0"):
        measure(_evaluation(*drawn), top_k=(0,))


class TestPaired:
    def test_flips_and_classes(self) -> None:
        labels = np.array([0] * 40 + [1] * 40 + [2] * 40)
        before = 4.0 * np.eye(4)[labels]
        after = before.copy()
        after[:12] = 3.0 * np.eye(4)[1]  # twelve ants become bees
        before[50] = np.eye(4)[3]  # a bee that was a dog becomes right
        before[60] = np.eye(4)[3]
        after[60] = np.eye(4)[0]  # wrong, and otherwise wrong
        found = detail(_evaluation(before, labels, name="float"), _evaluation(after, labels))
        assert found.pair.record.to_wrong == 12
        assert found.pair.record.to_right == 1
        assert [flip.kind for flip in found.flips] == ["to wrong"] * 12 + [
            "to right",
            "wrong to wrong",
        ]
        assert found.flips[0].truth == "ant"
        assert found.flips[0].after == "bee"
        first = found.classes[0]
        assert (first.label, first.to_wrong, first.to_right) == ("ant", 12, 0)
        assert first.change == pytest.approx(-12 / 40)
        assert first.p == pytest.approx(2 / 2**12)
        assert first.p_holm == pytest.approx(3 * 2 / 2**12)
        assert found.max_probability_change is not None
        assert found.calibration is not None
        json.dumps(found.to_json(), allow_nan=False)

    def test_the_same_model_changes_nothing(self, drawn: tuple[np.ndarray, np.ndarray]) -> None:
        one = _evaluation(*drawn)
        found = detail(one, one)
        assert found.flips == ()
        assert found.max_probability_change == 0
        assert {c.p_holm for c in found.classes} == {1.0}
        json.dumps(found.to_json(), allow_nan=False)

    def test_scores_of_unknown_kind(self, drawn: tuple[np.ndarray, np.ndarray]) -> None:
        found = detail(_evaluation(*drawn, kind=""), _evaluation(*drawn))
        assert found.max_probability_change is None
        assert found.calibration is None


INFO = ModelInfo(
    None,
    "tflite",
    "litert",
    "2.0",
    1,
    (),
    (),
    "intact",
    "int8",
    None,
    preprocess=Preprocess((4, 4)),
)


class TestStore:
    def test_kept_and_read_again(self, tmp_path: Path) -> None:
        row = np.float32([1, 2, 3])
        with PredictionStore(tmp_path, INFO, "sha256:1") as store:
            assert store.get("a") is None
            store.put("a", row)
        again = PredictionStore(tmp_path, INFO, "sha256:1")
        assert len(again) == 1
        assert np.array_equal(again.get("a"), row)
        assert again.reused == 1
        assert again.describe()["backend"] == "litert"

    @pytest.mark.parametrize(
        "changed",
        [
            replace(INFO, backend="openvino"),
            replace(INFO, backend_version="2.1"),
            replace(INFO, resize="fast"),
            replace(INFO, float_precision="bf16"),
            replace(INFO, preprocess=Preprocess((4, 4), crop_fraction=0.9)),
        ],
    )
    def test_whatever_changes_a_score_has_a_file_of_its_own(
        self, tmp_path: Path, changed: ModelInfo
    ) -> None:
        first = PredictionStore(tmp_path, INFO, "sha256:1")
        assert PredictionStore(tmp_path, changed, "sha256:1").path != first.path
        assert PredictionStore(tmp_path, INFO, "sha256:2").path != first.path
        assert PredictionStore(tmp_path, replace(INFO, threads=4), "sha256:1").path == first.path

    def test_an_interrupted_run_goes_on(self, tmp_path: Path) -> None:
        def interrupted() -> None:
            with PredictionStore(tmp_path, INFO, "x") as store:
                store.put("a", np.float32([1]))
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert len(PredictionStore(tmp_path, INFO, "x")) == 1

    def test_written_now_and_then(self, tmp_path: Path) -> None:
        store = PredictionStore(tmp_path, INFO, "x")
        for k in range(250):
            store.put(str(k), np.float32([k]))
        assert len(PredictionStore(tmp_path, INFO, "x")) == 200

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"hello" * 100])
    def test_a_damaged_file(self, tmp_path: Path, content: bytes) -> None:
        store = PredictionStore(tmp_path, INFO, "x")
        store.path.write_bytes(content)
        with pytest.raises(InputError, match="Remove the file"):
            PredictionStore(tmp_path, INFO, "x")

    def test_a_file_of_something_else(self, tmp_path: Path) -> None:
        with PredictionStore(tmp_path, INFO, "x") as store:
            store.put("a", np.float32([1]))
        other = PredictionStore(tmp_path, INFO, "y").path
        store.path.rename(other)
        with pytest.raises(InputError, match="something else"):
            PredictionStore(tmp_path, INFO, "y")

    def test_a_folder_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        store = PredictionStore(tmp_path / "file", INFO, "x")
        store.put("a", np.float32([1]))
        with pytest.raises(InputError, match="cannot be written"):
            store.flush()
