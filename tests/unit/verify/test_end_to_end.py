"""Error and agreement of the answers: what passes, what fails, and what is only said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import OnnxModel, small_resnet

from edgecv.conversion import convert
from edgecv.errors import ModelLoadError
from edgecv.verify.end_to_end import (
    Answers,
    agreement,
    error_gate,
    output_steps,
    rounding_gate,
)
from edgecv.verify.gates import VerificationFailedError
from edgecv.verify.source import read_source
from edgecv_runtimes.onnxruntime import OnnxRuntimeBackend
from edgecv_runtimes.openvino import OpenVINOBackend

BACKENDS = {"openvino": OpenVINOBackend, "onnx": OnnxRuntimeBackend}


def answers(
    expected: np.ndarray, found: np.ndarray, step: float | None = 0.5, name: str = "logits"
) -> Answers:
    """One output of all samples, the first dimension of both."""
    return Answers(
        [name], [step], [[row[None]] for row in expected], [[row[None]] for row in found]
    )


def classes(*best: int, margin: float = 10.0, count: int = 5) -> np.ndarray:
    """Scores of pictures with these classes in front by *margin*."""
    scores = np.zeros((len(best), count))
    scores[np.arange(len(best)), best] = margin
    return scores


class TestError:
    def test_in_steps_of_the_quantizer(self) -> None:
        expected = np.zeros((2, 4))
        found = expected + np.array([0, 0.5, 1, 2.5])
        gate, (row,) = error_gate(answers(expected, found), integer=True, kernels="k")
        assert gate.passed
        assert gate.value == pytest.approx(2.0)
        assert gate.limit == 8
        assert gate.detail == "max 5, mean 2 output steps (mean at most 8)"
        assert (row.tensor, row.kernels, row.max_error, row.mean_error) == ("logits", "k", 5, 2)

    def test_a_mean_beyond_the_limit_names_the_output(self) -> None:
        gate, _ = error_gate(answers(np.zeros((2, 4)), np.full((2, 4), 4.1)), integer=True)
        assert not gate.passed
        assert gate.detail == "logits: max 8.2, mean 8.2 output steps (mean at most 8)"

    @pytest.mark.parametrize(("noise", "limit"), [(0.0, 2.0), (0.25, 3.5), (1.0, 8.0)])
    def test_the_limit_grows_with_the_noise_of_the_net(self, noise: float, limit: float) -> None:
        """2 steps, and 3 times what ONNX Runtime's own optimizations change."""
        expected = np.zeros((2, 4))
        for error, passed in ((limit - 0.01, True), (limit + 0.01, False)):
            both = answers(expected, expected + error * 0.5)
            both = replace(both, yardstick=[[row[None]] for row in expected + noise])
            gate, _ = error_gate(both, integer=True)
            assert (gate.passed, gate.limit) == (passed, pytest.approx(limit))

    def test_without_a_quantizer_in_255ths_of_the_range(self) -> None:
        expected = np.array([[0.0, 51.0]])
        gate, _ = error_gate(answers(expected, expected + 0.2, None), integer=True)
        assert gate.value == pytest.approx(1.0)

    @pytest.mark.parametrize(("error", "passed"), [(0.009, True), (0.011, False)])
    def test_of_a_float_source_the_largest_counts(self, error: float, passed: bool) -> None:
        expected = np.array([[10.0, 0.0, -3.0]])
        gate, _ = error_gate(answers(expected, expected + np.array([0, error, 0])), integer=False)
        assert gate.passed == passed
        assert gate.value == pytest.approx(error / 10)
        assert gate.limit == 1e-3

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    @pytest.mark.parametrize("side", [0, 1])
    def test_what_is_not_finite_fails(self, value: float, side: int) -> None:
        both = [np.zeros((1, 3)), np.zeros((1, 3))]
        both[side][0, 1] = value
        gate, _ = error_gate(answers(*both), integer=True)
        assert not gate.passed
        assert "logits: values that are not finite" in gate.detail

    def test_another_number_of_elements_fails(self) -> None:
        gate, rows = error_gate(answers(np.zeros((1, 3)), np.zeros((1, 4))), integer=True)
        assert (gate.passed, rows) == (False, ())
        assert "logits: 3 and 4 elements" in gate.detail

    def test_the_worst_of_several_outputs_counts(self) -> None:
        two = Answers(
            ["a", "b"], [1.0, 1.0], [[np.zeros(2), np.zeros(2)]], [[np.zeros(2), np.full(2, 3.0)]]
        )
        gate, rows = error_gate(two, integer=True)
        assert gate.value == 3
        assert [row.mean_error for row in rows] == [0, 3]


class TestFloat16:
    def moved(self, error: float, noise: float, halves: int = 5) -> Answers:
        """One output of range 10: an artifact off by *error*, a rounded source by *noise*, everywhere."""
        expected = np.array([[10.0, 0.0, 3.0]])
        both = answers(expected, expected + error, None)
        return replace(both, yardstick=[[row[None]] for row in expected + noise], halves=halves)

    @pytest.mark.parametrize(("noise", "limit"), [(0.0, 1e-3), (0.01, 4e-3), (0.03, 1e-2)])
    def test_the_bound_follows_what_rounding_does(self, noise: float, limit: float) -> None:
        for error, passed in ((limit * 10 * 0.99, True), (limit * 10 * 1.01, False)):
            gate, _ = error_gate(self.moved(error, noise), integer=False)
            assert (gate.passed, gate.limit) == (passed, pytest.approx(limit))

    def test_classes_nearer_than_the_bound_may_change_places(self) -> None:
        expected, found = classes(*[0] * 40), classes(*[1] * 40)
        expected[:, 1] = 10 - 0.05
        for noise, passed in ((0.01, True), (0.0, False)):
            both = answers(expected, found, None)
            both = replace(both, yardstick=[[row[None]] for row in expected + noise], halves=1)
            gate = agreement(both, integer=False, meaningful=True)
            assert gate is not None
            assert gate.passed == passed

    @pytest.mark.parametrize(("noise", "passed"), [(0.078, True), (0.079, False)])
    def test_rounding_may_cost_what_int8_may(self, noise: float, passed: bool) -> None:
        """2 of 255 steps of the range, in the mean."""
        gate = rounding_gate(self.moved(0, noise))
        assert gate is not None
        assert (gate.passed, gate.limit) == (passed, 2)
        assert gate.value == pytest.approx(noise / 10 * 255)
        assert gate.detail.startswith("rounding 5 constants moves the answers by ")

    def test_answers_that_are_lost_fail(self) -> None:
        gate = rounding_gate(self.moved(0, np.nan))
        assert gate is not None
        assert (gate.passed, gate.value) == (False, None)

    def test_where_nothing_is_rounded_there_is_no_gate(self) -> None:
        assert rounding_gate(self.moved(0, 0, halves=0)) is None
        gate, _ = error_gate(self.moved(0, 5, halves=0), integer=False)
        assert gate.limit == 1e-3


class TestAgreement:
    def test_on_synthetic_samples_it_decides_nothing(self) -> None:
        both = answers(classes(0, 1, 2), classes(3, 3, 3))
        gate = agreement(both, integer=True, meaningful=False)
        assert gate is not None
        assert (gate.passed, gate.value, gate.limit) == (True, 0, None)
        assert gate.detail == "0 of 3 name the same class; not meaningful on synthetic samples"

    def test_on_pictures_with_its_interval(self) -> None:
        best = [i % 5 for i in range(64)]
        gate = agreement(answers(classes(*best), classes(*best)), integer=True, meaningful=True)
        assert gate is not None
        assert (gate.passed, gate.value, gate.limit) == (True, 1, 0.99)
        assert gate.detail == (
            "64 of 64 name the same class: 100.0%, 95 % interval 94.3% to 100.0%, must reach 99%"
        )

    @pytest.mark.parametrize(("others", "passed"), [(1, True), (2, True), (3, False), (9, False)])
    def test_the_interval_must_reach_the_bar(self, others: int, passed: bool) -> None:
        best = [i % 4 for i in range(64)]
        changed = [4] * others + best[others:]
        both = answers(classes(*best), classes(*changed))
        gate = agreement(both, integer=True, meaningful=True)
        assert gate is not None
        assert gate.passed == passed
        assert f"{64 - others} of 64" in gate.detail

    def test_near_ties_may_change_places(self) -> None:
        """Margins of 4.0 are 8 steps of 0.5; a little more is none."""
        best, changed = [0] * 40, [1] * 40
        for margin, passed in ((4.0, True), (4.1, False)):
            both = answers(classes(*best, margin=margin), classes(*changed, margin=margin))
            gate = agreement(both, integer=True, meaningful=True)
            assert gate is not None
            assert gate.passed == passed
            assert ("must reach 99% with the 40 that are nearly tied" in gate.detail) == passed
        assert "nearly tied" not in gate.detail

    @pytest.mark.parametrize("shape", [(1, 1), (1, 4, 3, 3), (5,)])
    def test_other_outputs_name_no_class(self, shape: tuple[int, ...]) -> None:
        outputs = [[np.zeros(shape)]]
        both = Answers(["y"], [1.0], outputs, outputs)
        assert agreement(both, integer=True, meaningful=True) is None

    def test_every_picture_of_a_batch_counts(self) -> None:
        scores = classes(0, 1, 2, 3)
        both = Answers(["y"], [1.0], [[scores[:2]], [scores[2:]]], [[scores[:2]], [scores[2:]]])
        gate = agreement(both, integer=True, meaningful=True)
        assert gate is not None
        assert gate.detail.startswith("4 of 4")


def test_steps_of_the_outputs() -> None:
    model = small_resnet()
    assert output_steps(read_source(model.bytes())) == [pytest.approx(0.2)]
    assert output_steps(read_source(small_resnet(quantized=False).bytes())) == [None]
    integer = OnnxModel()
    x = integer.input("x", (1, 4), (0.1, 3))
    integer.op("Relu", [x], "y", (0.1, -128))
    assert output_steps(read_source(integer.output("y/int", (1, 4)).bytes(check=False))) == [1.0]


@pytest.mark.parametrize("target", BACKENDS)
def test_an_engine_that_answers_something_else(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source.onnx"
    source.write_bytes(small_resnet().bytes())
    right = BACKENDS[target].infer

    def wrong(self: Any, feeds: Any) -> dict[str, np.ndarray]:
        # the reference and its yardstick are right: only what runs the artifact is not
        ours = target == "openvino" or getattr(self, "_optimize", False)
        shift = 2.0 if ours else 0.0
        return {name: array + np.float32(shift) for name, array in right(self, feeds).items()}

    monkeypatch.setattr(BACKENDS[target], "infer", wrong)
    with pytest.raises(VerificationFailedError, match=r"end_to_end: logits: max .* output steps"):
        convert(source, target=target, out=tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["source.onnx"]


@pytest.mark.parametrize("target", BACKENDS)
def test_an_engine_that_cannot_load_the_artifact(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured: OpenVINO 2026.4 does not compile a MobileViT that onnxruntime quantized."""
    source = tmp_path / "source.onnx"
    source.write_bytes(small_resnet().bytes())
    right = BACKENDS[target].__init__

    def refuse(self: Any, model: Any, *, threads: int, optimize: bool = True) -> None:
        if not optimize:
            right(self, model, threads=threads, optimize=optimize)
            return
        raise ModelLoadError("it cannot load it: index out of range", cure="Try another.")

    monkeypatch.setattr(BACKENDS[target], "__init__", refuse)
    with pytest.raises(
        VerificationFailedError, match="engine: it cannot load it: index"
    ) as stopped:
        convert(source, target=target, out=tmp_path / "out")
    assert stopped.value.exit_code == 1
    assert [gate.name for gate in stopped.value.report.gates] == ["parameters", "engine"]


def test_a_source_that_the_reference_cannot_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source.onnx"
    source.write_bytes(small_resnet().bytes())

    def refuse(self: Any, model: Any, **_: Any) -> None:
        raise ModelLoadError("ONNX Runtime cannot load it: no kernel", cure="Try another.")

    monkeypatch.setattr(OnnxRuntimeBackend, "__init__", refuse)
    with pytest.raises(
        ModelLoadError, match=r"the source cannot be verified: .*no kernel.*--no-verify"
    ):
        convert(source, out=tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["source.onnx"]
