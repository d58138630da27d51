"""Checkpoints that say which model they are, and torch as an engine that runs them."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_models
import tiny_torch
import torch
from safetensors.torch import load, save
from torch_nets import lively, pictures

from edgecv import artifact
from edgecv.errors import InputError, ModelLoadError, UnsupportedError
from edgecv.models import create, read_state_dict
from edgecv.quantize import as_exported, calibrate, export_qdq, freeze, predict, prepare_qat
from edgecv.quantize.checkpoint import KEY, Architecture, read_checkpoint, write_checkpoint
from edgecv.runtime import Runtime
from edgecv_runtimes.base import ListsLayers
from edgecv_runtimes.registry import backend_names, choose

SIZE = (32, 40)
ARCHITECTURE = Architecture("resnet10_micro", 5, SIZE, bits=8)
ABOUT = artifact.Manifest(
    labels=tuple("abcde"),
    preprocess=artifact.Preprocess(size=SIZE),
    inputs=(),
    outputs=(),
    precision="float32",
)


@pytest.fixture(scope="module")
def qat() -> torch.fx.GraphModule:
    module = lively(create("resnet10_micro", num_classes=5, size=SIZE).module, SIZE)
    prepared = prepare_qat(module, input_size=SIZE, dropout=False)
    calibrate(prepared, [pictures(16, SIZE, seed) for seed in range(2)])
    freeze(prepared)
    return prepared.eval()


@pytest.fixture(scope="module")
def path(qat: torch.fx.GraphModule, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "qat.safetensors"
    write_checkpoint(qat, path, ARCHITECTURE, ABOUT)
    return path


def test_it_is_chosen_for_its_kind_and_registered_like_anybodys() -> None:
    assert choose("auto", "torch").name == "torch"
    assert "torch" in backend_names()
    with pytest.raises(UnsupportedError, match="the backend 'torch' runs torch, not onnx"):
        choose("torch", "onnx")


def test_the_file_says_what_it_is(path: Path, qat: torch.fx.GraphModule) -> None:
    file = artifact.read(path)
    assert (file.kind, file.state) == ("torch", "intact")
    manifest = file.manifest
    assert manifest is not None
    assert (manifest.labels, manifest.precision) == (tuple("abcde"), "int8")
    assert manifest.inputs[0].shape == (1, 3, *SIZE)
    assert manifest.outputs[0].shape == (1, 5)
    assert {q.name for q in manifest.quantizers} >= {"input", "logits"}
    assert set(manifest.tools) == {"edgecv", "torch", "timm"}
    # whoever reads weights alone reads the same
    assert read_state_dict(path).keys() == qat.state_dict().keys()


def test_writing_is_deterministic(path: Path, qat: torch.fx.GraphModule, tmp_path: Path) -> None:
    write_checkpoint(qat, tmp_path / "again.safetensors", ARCHITECTURE, ABOUT)
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_the_answers_are_those_of_the_exported_file(
    path: Path, qat: torch.fx.GraphModule, tmp_path: Path
) -> None:
    batch = pictures(6, SIZE, seed=9).numpy()
    export_qdq(qat, tmp_path / "m.onnx", input_size=SIZE)
    expected = predict(as_exported(qat, input_size=SIZE), [batch])
    with Runtime(path) as ours, Runtime(tmp_path / "m.onnx") as theirs:
        assert (ours.info.backend, ours.info.kind) == ("torch", "torch")
        answers = ours.infer(batch)["logits"]
        assert np.array_equal(answers, expected)
        # an engine may round another way; this net is too small to make much of it
        step = artifact.read(path).manifest.quantizers[-1].scale
        assert np.abs(answers - theirs.infer(batch)["logits"]).max() <= 2 * step
        assert ours.info.precision.startswith("int8 (14/14 conv, 1/1 linear)"), ours.info.precision


def test_a_float_model_runs_as_trained(tmp_path: Path) -> None:
    module = lively(create("resnet10_micro", num_classes=5, size=SIZE).module, SIZE).eval()
    path = tmp_path / "float.safetensors"
    write_checkpoint(module, path, replace(ARCHITECTURE, bits=None), ABOUT)
    picture = pictures(1, SIZE, seed=9)
    with Runtime(path) as runtime, torch.inference_mode():
        answer, trained = runtime.infer(picture.numpy())["logits"], module(picture).numpy()
        # the runtime has one thread, this process perhaps two: sums may be split differently
        assert np.abs(answer - trained).max() <= 1e-6
        assert runtime.info.precision == "float32 (14/14 conv, 1/1 linear)"


def test_fewer_bits_run_with_the_fake_quantizers() -> None:
    data = tiny_torch.checkpoint("int8", bits=4)
    module, architecture = read_checkpoint(artifact.read(data).body)
    assert architecture.bits == 4
    x = np.random.default_rng(0).random((1, 3, *tiny_torch.SIZE), np.float32)
    with Runtime(data) as runtime, torch.inference_mode():
        assert np.array_equal(runtime.infer(x)["logits"], module(torch.from_numpy(x)).numpy())
        assert runtime.info.precision.startswith("int4 (1/1 conv, 1/1 linear)")


def test_the_products_of_attention_are_listed() -> None:
    architecture = Architecture("mobilevit_xxs", 3, (64, 64), bits=8)
    prepared = architecture.build()
    calibrate(prepared, [pictures(2, (64, 64), 0)])
    backend = choose("torch", "torch")
    body = save(prepared.state_dict(), metadata={KEY: json.dumps(vars(architecture))})
    opened = backend(artifact.ModelFile("torch", None, body, None, None, "unsigned"), threads=1)
    assert isinstance(opened, ListsLayers)
    kinds = [layer.kind for layer in opened.executed_layers()]
    assert kinds.count("matmul") == 18
    opened.close()


def test_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    seen: list[int] = []
    with Runtime(tiny_torch.checkpoint(), threads=before + 2) as runtime:
        x = np.zeros((1, 3, *tiny_torch.SIZE), np.float32)
        runtime._backend._module.register_forward_hook(  # type: ignore[attr-defined]
            lambda *_: seen.append(torch.get_num_threads())
        )
        runtime.infer(x)
        worker = threading.Thread(target=runtime.infer, args=(x,))
        worker.start()
        worker.join()
    assert seen == [before + 2] * 2
    assert torch.get_num_threads() == before


def test_weights_alone_are_no_model() -> None:
    with pytest.raises(ModelLoadError, match=r"does not say of which model.*edgecv export --model"):
        Runtime(tiny_models.safetensors())


SAID = {"model": tiny_torch.NAME, "num_classes": 3, "size": [8, 6], "normalize": "fold"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 3}, "is damaged"),
        ({"size": [8]}, "is damaged"),
        ({"num_classes": "3"}, "is damaged"),
        ({"num_classes": True}, "is damaged"),
        ({"num_classes": 2**40}, "is damaged"),
        ({"model": None}, "is damaged"),
        ({"evil": 1}, "is damaged"),
        ({"model": "no_such_model"}, "unknown model"),
        ({"num_classes": 4}, "do not fit"),
        ({"normalize": "twice"}, "normalize='twice'"),
        ({"bits": 9}, "bits"),
    ],
)
def test_what_a_strange_file_says_is_checked(changes: dict[str, object], message: str) -> None:
    state = load(tiny_models.safetensors())
    body = save(state, metadata={KEY: json.dumps({**SAID, **changes})})
    with pytest.raises(ModelLoadError, match=message):
        Runtime(body)
    for nonsense in ("", "[]", "{", "null"):
        with pytest.raises(ModelLoadError, match="is damaged"):
            Runtime(save(state, metadata={KEY: nonsense}))


def test_other_float_precisions_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="the torch reference cannot be told"):
        Runtime(tiny_torch.checkpoint(), float_precision="f16")


def test_a_model_without_ranges_is_not_written(tmp_path: Path) -> None:
    module = ARCHITECTURE.build()
    with pytest.raises(InputError, match="has no range yet"):
        write_checkpoint(module, tmp_path / "m.safetensors", ARCHITECTURE, ABOUT)
    assert not list(tmp_path.iterdir())
