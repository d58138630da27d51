"""What torch.onnx and onnxruntime.quantization write, without any preparation in between."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from differential import assert_float, delegation, run_onnx, run_tflite
from engines import convert_and_run
from exported import quantize_static, timm_onnx

from edgecv.conversion import convert
from edgecv.errors import ModelLoadError
from edgecv.verify.parameters import compare_parameters
from edgecv.verify.teacher_forced import teacher_forced
from edgecv_converters import TARGETS, ReadOptions, convert_model, plan_model

SIZE = 64
NETS = ("mobilevit_xxs", "mobilenetv3_small_050", "efficientnet_b0")
#: Operators that only exporters need.
PLUMBING = {"Shape", "Gather", "Unsqueeze", "Concat", "Slice", "Cast", "Sqrt", "Div", "Identity"}


@pytest.fixture(scope="module")
def open_mobilevit() -> bytes:
    """Attention that computes its scale from shapes, reshapes by the picture's size: 500 such operators."""
    return timm_onnx("mobilevit_xxs", SIZE, fused_attention=True, open_axes=(0, 2, 3))


def test_every_target_takes_open_attention(open_mobilevit: bytes, tmp_path: Path) -> None:
    x = np.random.default_rng(0).uniform(0, 1, (2, 3, SIZE, SIZE)).astype(np.float32)
    wanted = run_onnx(open_mobilevit, {"input": x})[0]
    options = ReadOptions(shapes={"input": x.shape})
    for target, (result, y) in convert_and_run(open_mobilevit, tmp_path, x, read=options).items():
        assert np.abs(y - wanted).max() <= 1e-4 * np.abs(wanted).max(), target
        counts = result.plan.statistics()["by_type"]
        assert target == "tflite" or set(counts) & PLUMBING == {"Concat"}
    taken = delegation((tmp_path / "out" / "source.float.tflite").read_bytes())
    assert (taken.partitions, taken.outside) == (1, ())


def test_sizes_that_the_exporter_fixed(open_mobilevit: bytes) -> None:
    """The trace has 64 pixels in its operators, whatever it says of its input."""
    options = ReadOptions(shapes={"input": (1, 3, 96, 96)})
    with pytest.raises(ModelLoadError, match=r"contradict each other.*fix sizes for other inputs"):
        plan_model(open_mobilevit, "tflite", options=options)


@pytest.mark.slow
def test_another_size() -> None:
    source = timm_onnx("mobilenetv3_small_050", SIZE, open_axes=(0, 2, 3))
    options = ReadOptions(shapes={"input": (1, 3, 96, 80)})
    converted = convert_model(source, "tflite", options=options)
    assert converted.inputs[0].shape == (1, 96, 80, 3)
    x = np.random.default_rng(0).uniform(0, 1, (1, 3, 96, 80)).astype(np.float32)
    wanted = run_onnx(source, {"input": x})[0]
    (y,) = run_tflite(converted.files[".tflite"], [x.transpose(0, 2, 3, 1)], "xnnpack")
    assert np.abs(y - wanted).max() <= 1e-4 * np.abs(wanted).max()


@pytest.mark.slow
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", NETS)
def test_float(name: str, fused: bool) -> None:
    converted = assert_float(timm_onnx(name, SIZE, fused_attention=fused), relative=1e-3)
    taken = delegation(converted.files[".tflite"])
    assert (taken.partitions, taken.outside) == (1, ())


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["QUInt8", "QInt8"])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", NETS)
def test_quantized_as_it_was_exported(
    name: str, fused: bool, activation: str, tmp_path: Path
) -> None:
    """Copies of shared constants are rounded twice, attention's scale is rounded, too."""
    source = quantize_static(
        timm_onnx(name, SIZE, fused_attention=fused), tmp_path, SIZE, activation=activation
    )
    for target, suffix in (("tflite", ".tflite"), ("openvino", ".xml"), ("onnx", ".onnx")):
        # the targets' own lists of what they leave out need a manifest
        converted = convert_model(source, target)
        if converted.left_out:
            continue
        for kind, data in converted.files.items():
            (tmp_path / f"model{kind}").write_bytes(data)
        assert compare_parameters(tmp_path / f"model{suffix}", source) == [], target
    plan = plan_model(source, "tflite")
    # a product whose bridge would add too much noise runs in float, and is named
    assert plan.statistics()["int8_macs_share"] >= 0.999
    assert len(plan.float_products) == len([w for w in plan.warnings if "runs in float" in w]) <= 1
    x = np.random.default_rng(3).uniform(0, 1, (1, 3, SIZE, SIZE)).astype(np.float32)
    errors = teacher_forced(plan, source, [{"input": x}])
    assert max(e.max_lsb for e in errors) <= 4


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_every_gate_passes_without_preparation(target: str, tmp_path: Path) -> None:
    """Attention that the exporter wrote out, constants that are rounded twice: OpenVINO compiles it, too."""
    net = timm_onnx("mobilevit_xxs", SIZE, fused_attention=True)
    (tmp_path / "m.onnx").write_bytes(quantize_static(net, tmp_path, SIZE))
    result = convert(tmp_path / "m.onnx", target=target, out=tmp_path / "out")
    assert result.report["verified"]
    if target == "openvino":
        layers = result.manifest.verification["executed_layers"]
        assert {kind: len(names) for kind, names in layers["int8"].items()} == {
            "conv": 35,
            "linear": 37,
        }


@pytest.mark.slow
@pytest.mark.parametrize("opset", [13, 16])
@pytest.mark.parametrize("target", TARGETS)
def test_layer_normalizations_of_older_operator_sets(
    target: str, opset: int, tmp_path: Path
) -> None:
    """Nine operators, most with a quantizer of their own."""
    net = timm_onnx("mobilevit_xxs", SIZE, fused_attention=False, opset=opset)
    (tmp_path / "m.onnx").write_bytes(quantize_static(net, tmp_path, SIZE))
    result = convert(tmp_path / "m.onnx", target=target, out=tmp_path / "out")
    assert result.report["verified"]
    if target == "tflite":
        assert result.plan.statistics()["by_type"]["SQRT"] == 21


@pytest.mark.slow
@pytest.mark.parametrize("opset", [11, 13, 18])
def test_operator_sets_of_the_exporter(opset: int) -> None:
    """Below 17 LayerNormalization is nine operators, below 13 sizes are attributes."""
    net = "mobilevit_xxs" if opset >= 13 else "mobilenetv3_small_050"
    source = timm_onnx(net, SIZE, fused_attention=False, open_axes=(0,), opset=opset)
    assert_float(source, relative=1e-3)
