"""What ``Runtime`` adds to one call, on every backend: batches, clones, warm-up, profiles, streams."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import tiny_models
from cases import CASES, Case, picture

from edgecv.errors import InputError, UnsupportedError
from edgecv.runtime import Runtime

Array = np.ndarray[Any, Any]
COMPUTING = [case for case in CASES if case.tolerance is not None]


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture
def runtime(case: Case) -> Iterator[Runtime]:
    with case.open() as opened:
        yield opened


@pytest.mark.parametrize("count", [2, 3, 7])
def test_a_batch_is_its_pictures(case: Case, runtime: Runtime, count: int) -> None:
    feeds = [case.feed(runtime, seed) for seed in range(count)]
    together = runtime.infer(np.concatenate(feeds))["logits"]
    singly = np.concatenate([runtime.infer(feed)["logits"] for feed in feeds])
    assert together.dtype == singly.dtype
    assert np.array_equal(together, singly)


def test_a_batch_by_name_and_strided(case: Case, runtime: Runtime) -> None:
    feeds = np.concatenate([case.feed(runtime, seed) for seed in range(4)])
    every_other = runtime.infer({"input": feeds[::2]})["logits"]
    assert np.array_equal(every_other, runtime.infer(feeds)["logits"][::2])


def test_an_empty_batch_is_refused(case: Case, runtime: Runtime) -> None:
    with pytest.raises(InputError, match="does not fit the input 'input'"):
        runtime.infer(case.feed(runtime)[:0])


def test_classify_a_list(case: Case, runtime: Runtime) -> None:
    pictures = [picture(seed) for seed in range(5)]
    together = runtime.classify(pictures, top_k=3)
    singly = [runtime.classify(one, top_k=3) for one in pictures]
    assert [a.predictions for a in together] == [a.predictions for a in singly]
    assert runtime.classify([]) == []
    assert all(a.timings.infer_ns > 0 and a.timings.postprocess_ns > 0 for a in together)


def test_probs_are_what_supervision_reads(case: Case, runtime: Runtime) -> None:
    answer = runtime.classify(picture())
    # supervision 0.31, Classifications.from_ultralytics
    confidence = answer.probs.data.cpu().numpy()
    assert type(confidence) is np.ndarray
    assert confidence.shape == (len(tiny_models.LABELS),)
    assert confidence.sum() == pytest.approx(1, abs=1e-6)
    assert answer.probs.top1 == answer.top.index
    assert answer.probs.top1conf == pytest.approx(answer.top.score)
    assert answer.probs.top5 == [p.index for p in answer.predictions]
    assert len(answer.probs) == len(tiny_models.LABELS)


def test_clones_answer_alike_and_close_apart(case: Case, runtime: Runtime) -> None:
    feed = case.feed(runtime)
    expected = runtime.infer(feed)["logits"]
    first, second = runtime.clone(), runtime.clone()
    first.close()
    assert np.array_equal(second.infer(feed)["logits"], expected)
    assert np.array_equal(runtime.infer(feed)["logits"], expected)
    with pytest.raises(InputError, match="the runtime is closed"):
        first.infer(feed)
    with pytest.raises(InputError, match="the runtime is closed"):
        first.clone()
    assert second.info.precision == runtime.info.precision
    second.close()
    assert np.array_equal(runtime.infer(feed)["logits"], expected)


@pytest.mark.parametrize("case", COMPUTING, ids=str)
def test_a_clone_per_thread(case: Case) -> None:
    with case.open() as runtime:
        feeds = [case.feed(runtime, seed) for seed in range(8)]
        expected = [runtime.infer(feed)["logits"].copy() for feed in feeds]

        def work(start: int) -> int:
            with runtime.clone() as own:
                answers = [(k, own.infer(feeds[k])["logits"]) for k in list(range(8)) * 10]
            return start + sum(not np.array_equal(expected[k], answer) for k, answer in answers)

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(work, [0, 0, 0, 0])) == [0, 0, 0, 0]


def test_warmup(case: Case, runtime: Runtime) -> None:
    times = runtime.warmup(4)
    assert len(times) == 4
    assert min(times) > 0
    with pytest.raises(InputError, match="runs=0"):
        runtime.warmup(0)


def test_profile(case: Case, runtime: Runtime) -> None:
    found = runtime.profile(runs=3)
    assert found.runs == 3
    assert found.infer_ms > 0
    assert found.preprocess_ms is not None
    assert found.preprocess_ms > 0
    assert "infer" in str(found)
    if case.backend in ("onnxruntime", "openvino"):
        assert found.layers is not None
        assert found.note == ""
        kinds = " ".join(layer.kind for layer in found.layers)
        assert "Conv" in kinds
        assert all(layer.ms >= 0 for layer in found.layers)
        assert str(found).count("\n") == len(found.layers)
    else:
        assert found.layers is None
        assert "no times per layer" in found.note
    with pytest.raises(InputError, match="runs=0"):
        runtime.profile(runs=0)


def test_profile_of_one_picture_adds_up(case: Case, runtime: Runtime) -> None:
    large = np.zeros((600, 800, 3), np.uint8)
    assert (runtime.profile(large, runs=3).preprocess_ms or 0) > (
        runtime.profile(picture(), runs=3).preprocess_ms or 0
    )


def test_stream_of_all_frames(case: Case, runtime: Runtime) -> None:
    frames = [picture(seed) for seed in range(6)]
    answers = list(runtime.stream(frames, policy="all"))
    assert [a.number for a in answers] == list(range(6))
    assert [a.classification.top for a in answers] == [runtime.classify(f).top for f in frames]
    assert {a.dropped for a in answers} == {0}


def test_float_precision(case: Case) -> None:
    source = case.source()
    if case.backend in ("openvino", "null"):
        with Runtime(source, backend=case.backend, float_precision="bf16") as runtime:
            assert runtime.info.float_precision == "bf16"
            assert runtime.infer(case.feed(runtime))["logits"].shape == (1, 3)
    else:
        with pytest.raises(UnsupportedError, match="cannot be told to compute in bf16"):
            Runtime(source, backend=case.backend, float_precision="bf16")
    with pytest.raises(InputError, match="float_precision='f64'"):
        Runtime(source, backend=case.backend, float_precision="f64")


@pytest.mark.parametrize(
    ("argument", "value"), [("check", "maybe"), ("resize", "quick"), ("resize", "")]
)
def test_unknown_choices(case: Case, argument: str, value: str) -> None:
    with pytest.raises(InputError, match=f"{argument}={value!r} is unknown"):
        Runtime(case.source(), backend=case.backend, **{argument: value})  # type: ignore[arg-type]


def test_edges_quantize_and_dequantize(case: Case, runtime: Runtime) -> None:
    [spec] = runtime.info.inputs
    real = np.array([0.0, 0.25, 1.0, 7.0], np.float32)
    stored = spec.quantize(real)
    assert stored.dtype == spec.dtype
    back = spec.dequantize(stored)
    if spec.quantization is None:
        assert np.array_equal(back, real)
    else:
        assert np.abs(back[:3] - real[:3]).max() <= spec.quantization.scale / 2 + 1e-6
        assert stored[3] == np.iinfo(spec.dtype).max
