"""What every backend does, through ``Runtime``: one suite, the same for all."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import tiny_models
from cases import CASES, Case, picture

from edgecv.errors import InputError
from edgecv.measure import rss_bytes
from edgecv.preprocess import prepare
from edgecv.runtime import Runtime
from edgecv_runtimes.registry import choose

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


def test_info(case: Case, runtime: Runtime) -> None:
    info = runtime.info
    assert (info.backend, info.kind, info.check) == (case.backend, case.kind, "intact")
    assert (info.threads, info.path) == (1, None)
    assert info.backend_version not in ("", "unknown")
    assert info.manifest is not None
    assert info.inputs == info.manifest.inputs
    assert info.outputs == info.manifest.outputs


def test_outputs_have_the_shape_and_dtype_of_the_file(case: Case, runtime: Runtime) -> None:
    outputs = runtime.infer(case.feed(runtime))
    assert list(outputs) == ["logits"]
    spec = runtime.info.outputs[0]
    assert (outputs["logits"].shape, outputs["logits"].dtype) == (spec.shape, spec.dtype)


@pytest.mark.parametrize("case", COMPUTING, ids=str)
def test_answers_are_the_models(case: Case) -> None:
    with case.open() as runtime:
        answers = []
        for seed in range(5):
            logits = case.logits(runtime, runtime.infer(case.feed(runtime, seed)))
            expected = tiny_models.reference(picture(seed) / 255)
            assert np.abs(logits - expected).max() <= case.tolerance
            answers.append(logits.tolist())
    assert len({tuple(answer) for answer in answers}) == 5


@pytest.mark.parametrize("case", COMPUTING, ids=str)
def test_executed_precision_is_the_files(case: Case) -> None:
    with case.open() as runtime:
        said = runtime.info.precision
    if case.foreign:
        assert said
        return
    # ONNX Runtime keeps this last layer in float: its output goes straight to a float
    mixed = said.startswith("mixed: int8") and case.backend == "onnxruntime"
    assert said.startswith(case.precision) or (case.precision == "int8" and mixed), said
    assert "1/1 conv" in said or "3 of 3 ops" in said


def test_repeated_calls_give_the_same(case: Case, runtime: Runtime) -> None:
    feed = case.feed(runtime)
    first = runtime.infer(feed)["logits"].copy()
    runtime.infer(case.feed(runtime, 1))
    assert np.array_equal(runtime.infer(feed)["logits"], first)


def test_answers_belong_to_the_caller(case: Case, runtime: Runtime) -> None:
    first = runtime.infer(case.feed(runtime))["logits"]
    kept = first.copy()
    runtime.infer(case.feed(runtime, 1))
    assert np.array_equal(first, kept)
    first[...] = 0
    assert np.array_equal(runtime.infer(case.feed(runtime))["logits"], kept)


def test_the_callers_array_is_not_kept(case: Case, runtime: Runtime) -> None:
    feed = case.feed(runtime).copy()
    first = runtime.infer(feed)["logits"].copy()
    feed[...] = 0
    assert np.array_equal(runtime.infer(case.feed(runtime))["logits"], first)


def test_memory_order_does_not_matter(case: Case, runtime: Runtime) -> None:
    feed = case.feed(runtime)
    expected = runtime.infer(feed)["logits"]
    strided = np.repeat(feed, 2, axis=1)[:, ::2]
    backwards = feed[..., ::-1].copy()[..., ::-1]
    read_only = feed.copy()
    read_only.flags.writeable = False
    for other in (np.asfortranarray(feed), strided, backwards, read_only):
        assert np.array_equal(runtime.infer(other)["logits"], expected)


def test_by_name(case: Case, runtime: Runtime) -> None:
    feed = case.feed(runtime)
    by_name = runtime.infer({"input": feed})["logits"]
    assert np.array_equal(by_name, runtime.infer(feed)["logits"])


@pytest.mark.parametrize("names", [[], ["image"], ["input", "other"]])
def test_other_names_are_refused(case: Case, runtime: Runtime, names: list[str]) -> None:
    feed = case.feed(runtime)
    with pytest.raises(InputError, match="Give exactly these: 'input'"):
        runtime.infer(dict.fromkeys(names, feed))


def test_other_shapes_are_refused(case: Case, runtime: Runtime) -> None:
    feed = case.feed(runtime)
    wrong = {
        "It is empty": feed[:0],
        r"x\[np.newaxis\]": feed[0],
        "does not fit the input 'input'": feed[:, :-1],
        "does not fit the input": feed[..., np.newaxis],
        "Give ": np.zeros((0, *feed.shape[1:]), feed.dtype).reshape(0),
    }
    for message, array in wrong.items():
        with pytest.raises(InputError, match=message):
            runtime.infer(array)


def test_the_other_layout_is_named(case: Case, runtime: Runtime) -> None:
    feed = case.feed(runtime)
    channels_last = feed.shape[-1] == 3
    other = feed.transpose(0, 3, 1, 2) if channels_last else feed.transpose(0, 2, 3, 1)
    with pytest.raises(InputError, match="NHWC" if channels_last else "NCHW"):
        runtime.infer(other)


@pytest.mark.parametrize("dtype", ["float64", "float16", "uint8", "int32", "bool", ">f4"])
def test_other_dtypes_are_refused(case: Case, runtime: Runtime, dtype: str) -> None:
    with pytest.raises(InputError, match="does not fit the input 'input'"):
        runtime.infer(case.feed(runtime).astype(dtype))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(value: float) -> None:
    for case in CASES:
        if case.precision == "int8" and case.kind == "tflite":
            continue
        with case.open() as runtime:
            feed = case.feed(runtime).copy()
            feed.reshape(-1)[-1] = value
            with pytest.raises(InputError, match="NaN or infinity"):
                runtime.infer(feed)


@pytest.mark.parametrize("value", [None, 3, "photo.jpg", [1, 2], [[1.0]]])
def test_what_is_no_array_is_refused(case: Case, runtime: Runtime, value: Any) -> None:
    with pytest.raises(InputError, match="Give a NumPy array"):
        runtime.infer(value)
    with pytest.raises(InputError, match="not a NumPy array"):
        runtime.infer({"input": value})


@pytest.mark.parametrize("case", COMPUTING, ids=str)
def test_shared_by_four_threads(case: Case) -> None:
    """800 calls on one object: every answer is the caller's own."""
    with case.open() as runtime:
        feeds = [case.feed(runtime, seed) for seed in range(8)]
        expected = [runtime.infer(feed)["logits"].copy() for feed in feeds]

        def work(start: int) -> int:
            wrong = 0
            for number in range(200):
                k = (start + number) % len(feeds)
                wrong += not np.array_equal(runtime.infer(feeds[k])["logits"], expected[k])
            return wrong

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(work, range(0, 8, 2))) == [0, 0, 0, 0]


@pytest.mark.parametrize("case", COMPUTING, ids=str)
def test_threads_do_not_change_the_answer(case: Case) -> None:
    with case.open() as one, case.open(threads=2) as two:
        assert (one.info.threads, two.info.threads) == (1, 2)
        feed = case.feed(one)
        a, b = (case.logits(r, r.infer(feed)) for r in (one, two))
        # float sums may be split differently
        assert np.abs(a - b).max() <= 1e-5


@pytest.mark.parametrize("threads", [0, -1, 257, 1.0, True, "2"])
def test_threads_out_of_range(case: Case, threads: Any) -> None:
    with pytest.raises(InputError, match="threads="):
        case.open(threads=threads)


def test_closed(case: Case) -> None:
    runtime = case.open()
    feed = case.feed(runtime)
    runtime.close()
    runtime.close()
    assert "closed" in repr(runtime)
    for call in (runtime.infer, runtime.classify, runtime.scores):
        with pytest.raises(InputError, match="the runtime is closed"):
            call(feed if call == runtime.infer else picture())


def test_reopened_many_times_memory_is_level(case: Case) -> None:
    def cycle(count: int) -> None:
        for _ in range(count):
            with case.open() as runtime:
                runtime.infer(case.feed(runtime))
        gc.collect()

    cycle(3)
    before = rss_bytes()
    cycle(8)
    # an engine that kept its buffers would hold far more than this after eight models
    assert rss_bytes() - before < 8 * 2**20


def test_classify(case: Case, runtime: Runtime) -> None:
    answer = runtime.classify(picture(), top_k=2)
    assert len(answer.predictions) == 2
    assert answer.score_kind == "probability"
    best = answer.predictions
    assert best[0].score >= best[1].score
    if case.tolerance is not None:
        # the manifest crops, so the model does not see the picture as it is
        seen = prepare(picture(), tiny_models.manifest(case.kind, case.precision).preprocess)
        logits = tiny_models.reference(seen / 255)
        powers = np.exp(logits - logits.max())
        expected = powers / powers.sum()
        assert answer.top.index == int(expected.argmax())
        assert answer.top.score == pytest.approx(expected.max(), abs=case.tolerance)
    assert answer.top.label == tiny_models.LABELS[answer.top.index]


def test_two_inputs() -> None:
    sources = {
        "litert": tiny_models.tflite_add(),
        "onnxruntime": tiny_models.onnx_add(),
        "openvino": tiny_models.openvino_add(),
    }
    a, b = np.float32([[1, 2, 3, 4]]), np.float32([[10, 20, 30, 40]])
    for backend, source in sources.items():
        with Runtime(source, backend=backend) as runtime:
            assert runtime.info.check == "unsigned"
            assert runtime.infer({"b": b, "a": a})["sum"].tolist() == [[11, 22, 33, 44]]
            with pytest.raises(InputError, match=r"inputs 'a', 'b'.*dictionary"):
                runtime.infer(a)
            with pytest.raises(InputError, match=r"inputs \['a'\]"):
                runtime.infer({"a": a})
            with pytest.raises(InputError, match="input 'b' holds NaN"):
                runtime.infer({"a": a, "b": b * np.nan})


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_an_open_batch_is_bound_to_one(backend: str) -> None:
    with Runtime(tiny_models.onnx_dynamic(), backend=backend) as runtime:
        [spec] = runtime.info.inputs
        assert spec.shape == (1, 3, tiny_models.HEIGHT, tiny_models.WIDTH)
        x = np.zeros(spec.shape, np.float32)
        assert runtime.infer(x)["logits"].shape == (1, 3)
        assert runtime.infer(np.repeat(x, 2, axis=0))["logits"].shape == (2, 3)


def test_every_backend_keeps_the_protocol() -> None:
    for case in CASES:
        backend = choose(case.backend, case.kind)
        assert backend.name == case.backend
        assert case.kind in backend.kinds
        assert isinstance(backend.version(), str)
