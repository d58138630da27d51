"""Open dimensions get sizes, for all targets; what does not fit is one clear error."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from differential import run_onnx
from engines import convert_and_run
from onnx import TensorProto, helper
from onnx_models import OnnxModel, small_resnet

import edgecv
from edgecv import artifact
from edgecv.artifact.manifest import Manifest, Preprocess
from edgecv.cli import cli
from edgecv.errors import EdgecvError, InputError, UnsupportedError
from edgecv_converters import TARGETS, ReadOptions, convert_model, plan_model, prepare_source


def open_resnet(*, quantized: bool = True) -> bytes:
    return small_resnet(quantized=quantized, batch="N", size=("H", "W")).bytes()


def pictures(*shape: int) -> np.ndarray:
    return (np.random.default_rng(5).integers(0, 256, shape) / 255).astype(np.float32)


@pytest.mark.parametrize("quantized", [True, False])
@pytest.mark.parametrize(
    ("options", "shape"),
    [
        (ReadOptions(batch=2), (2, 3, 20, 16)),
        (ReadOptions(shapes={"input": (1, 3, 12, 28)}), (1, 3, 12, 28)),
        (ReadOptions(shapes={"input": (3, 3, 33, 17)}), (3, 3, 33, 17)),
    ],
    ids=["batch", "size", "both"],
)
def test_every_target_gets_the_sizes(
    quantized: bool, options: ReadOptions, shape: tuple[int, ...], tmp_path: Path
) -> None:
    static = options.batch is not None
    source = (
        small_resnet(quantized=quantized, batch="N").bytes()
        if static
        else open_resnet(quantized=quantized)
    )
    x = pictures(*shape)
    wanted = run_onnx(source, {"input": x})[0]
    for target, (result, y) in convert_and_run(source, tmp_path, x, read=options).items():
        spec = result.manifest.inputs[0]
        assert sorted(spec.shape) == sorted(shape)
        assert y.shape == (shape[0], 5), target
        limit = 2.01 * 0.2 if quantized else 1e-5 * np.abs(wanted).max()
        assert np.abs(y - wanted).max() <= limit, target
        # the manifest says how the source was read; the comparison of parameters reads it the same way
        assert result.manifest.parent is not None
        assert ReadOptions.from_json(result.manifest.parent) == options


def test_an_open_batch_is_one_by_default() -> None:
    source = small_resnet(batch="N").bytes()
    assert convert_model(source, "tflite").inputs[0].shape == (1, 20, 16, 3)
    for said in (0, -1):
        model = onnx.ModelProto.FromString(source)
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = said
        assert convert_model(model.SerializeToString(), "onnx").inputs[0].shape == (1, 3, 20, 16)


def test_a_static_file_is_not_rewritten() -> None:
    source = small_resnet().bytes()
    assert prepare_source(source) is source
    assert prepare_source(source, ReadOptions(1, {"input": (1, 3, 20, 16)})) is source
    bound = prepare_source(open_resnet(), ReadOptions(shapes={"input": (1, 3, 20, 16)}))
    assert prepare_source(bound) is bound


def two_inputs(first: tuple[Any, ...], second: tuple[Any, ...]) -> bytes:
    model = OnnxModel()
    names = [model.input("a", first), model.input("b", second)]
    return model.output(model.op("Add", names, "out"), ("N", 4)).bytes(check=False)


def test_dimensions_of_one_name_have_one_size() -> None:
    source = two_inputs(("N", 4), ("N", 4))
    plan = plan_model(source, "onnx", options=ReadOptions(batch=3))
    assert [plan.tensors[i].shape for i in plan.inputs] == [(3, 4), (3, 4)]
    plan = plan_model(source, "onnx", options=ReadOptions(shapes={"b": (7, 4)}))
    assert [plan.tensors[i].shape for i in plan.inputs] == [(7, 4), (7, 4)]
    assert plan.tensors[plan.outputs[0]].shape == (7, 4)
    # a name that the first dimension of one input binds holds for any dimension of another
    plan = plan_model(two_inputs((4, "N"), ("N", 4)), "onnx", options=ReadOptions(batch=4))
    assert plan.tensors[plan.inputs[0]].shape == (4, 4)


def rankless() -> bytes:
    model = onnx.ModelProto.FromString(small_resnet().bytes())
    model.graph.input[0].type.tensor_type.ClearField("shape")
    return model.SerializeToString()


def sequence() -> bytes:
    model = onnx.ModelProto.FromString(small_resnet().bytes())
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, (1,)))
    model.graph.input[0].type.CopyFrom(kind)
    return model.SerializeToString()


def test_an_input_without_shape_takes_one() -> None:
    options = ReadOptions(shapes={"input": (1, 3, 20, 16)})
    assert convert_model(rankless(), "onnx", options=options).inputs[0].shape == (1, 3, 20, 16)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("source", "options", "kind", "said"),
    [
        (open_resnet, {}, UnsupportedError,
         r"dimension 2 of the input 'input' is H, not a number .* --shape input=1x3x\?x\?"),
        (open_resnet, {"batch": 4}, UnsupportedError, r"--shape input=4x3x\?x\?"),
        (lambda: small_resnet().bytes(), {"batch": 2}, InputError,
         r"dimension 0 of the input 'input' is 1 in the file, and --batch 2"),
        (open_resnet, {"shapes": {"data": (1,)}}, InputError, "no input 'data'. Its inputs: 'input'"),
        (open_resnet, {"shapes": {"input": (1, 3, 20)}}, InputError, "4 dimensions, and 3 sizes .* 1x3x20"),
        (open_resnet, {"shapes": {"input": (1, 4, 20, 16)}}, InputError,
         "dimension 1 of the input 'input' is 3 in the file, and 4"),
        (lambda: two_inputs(("N", 4), ("N", 4)), {"shapes": {"a": (1, 4), "b": (2, 4)}}, InputError,
         "dimension 'N' would have two sizes, 1 and 2 .dimension 0 of the input 'b'"),
        (rankless, {}, UnsupportedError, "input 'input' has no shape.*--shape input="),
        (sequence, {}, UnsupportedError, "input 'input' is not a tensor"),
    ],
)  # fmt: skip
def test_what_does_not_fit(
    source: Callable[[], bytes], options: dict[str, Any], kind: type[EdgecvError], said: str, target: str
) -> None:  # fmt: skip
    with pytest.raises(kind, match=said):
        convert_model(source(), target, options=ReadOptions(**options))


@pytest.mark.parametrize("options", [{"batch": 0}, {"batch": True}, {"shapes": {"x": (1, -3)}}])
def test_sizes_are_checked_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="at least 1"):
        ReadOptions(**options)


def test_the_manifest_follows_the_size(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(open_resnet())
    said = Manifest(("a", "b", "c", "d", "e"), Preprocess((20, 16)), (), (), "int8")
    artifact.seal_file(path, said)
    for target in TARGETS:
        result = edgecv.convert(
            path, target=target, out=tmp_path, shapes={"input": (2, 3, 12, 28)}, verify=False,
            overwrite=True,
        )  # fmt: skip
        assert result.manifest.preprocess == Preprocess((12, 28))
        assert result.manifest.parent is not None
        assert result.manifest.parent["identity"] == artifact.read(path).identity
        assert result.manifest.parent["shapes"] == {"input": [2, 3, 12, 28]}
    written = {e.key: e.value for e in onnx.load(tmp_path / "model.int8.onnx").metadata_props}
    assert (written["batch"], written["imgsz"]) == ("2", "[12, 28]")


def test_command_line(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(open_resnet())

    def run(*arguments: str) -> Any:
        out = str(tmp_path / "out")
        return CliRunner().invoke(cli, ["convert", str(path), "--out", out, *arguments])

    done = run("--target", "tflite", "--shape", "input=2x3x12x28", "--no-verify")
    assert done.exit_code == 0, done.output
    assert artifact.read(tmp_path / "out" / "model.int8.tflite").manifest is not None
    assert "input input: 1x12x28x3 int8" in run("--plan", "--shape", "input=1x3x12x28").output
    verified = CliRunner().invoke(
        cli, ["verify", str(tmp_path / "out" / "model.int8.tflite"), "--against", str(path)]
    )
    assert re.search("ok +parameters", verified.output), verified.output
    for arguments, said in (
        (("--target", "onnx"), "--shape input=1x3x?x?"),
        (("--target", "onnx", "--shape", "input"), "'input' is not an input and its shape"),
        (("--target", "onnx", "--shape", "input=1x3xHxW"), "is not an input and its shape"),
        (("--target", "onnx", "--shape", "input=1x0x3"), "at least 1"),
        (("--target", "onnx", *["--shape", "input=1x3x8x8"] * 2), "'input' twice"),
    ):
        assert isinstance(error := run(*arguments).exception, EdgecvError)
        assert said in str(error)
        assert error.exit_code == 2
    assert run("--target", "onnx", "--batch", "0").exit_code == 2
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["model.int8.tflite"]
