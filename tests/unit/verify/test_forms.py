"""Forms that sources come in, and what the converter adds: each is verified, none hides a wrong number.

``Verified`` converts with verification on, so that every test here is a positive control too.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_models import OnnxModel
from tampering import Copy, OnnxCopy
from verified_nets import Verified

from edgecv.verify.mismatch import Mismatch

Verify = Callable[[str], Verified]


def int8(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).integers(-100, 100, shape).astype(np.int8)


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).normal(0, 0.2, shape).astype(np.float32)


def after_adding(
    made: Verified, target: str, name: str, index: tuple[int, ...], step: float
) -> list[str]:
    """What verification says once the number there is larger by *step*."""
    copy = made.copy(target)
    copy.array(name)[index] += np.asarray(step, copy.array(name).dtype)
    copy.save()
    return [str(m) for m in made.compare(copy)]


def image_model(**options: str) -> tuple[OnnxModel, str]:
    model = OnnxModel(**options)
    return model, model.input("x", (1, 4, 6, 6), (0.05, 3))


class TestWhatTheConverterAdds:
    """TFLite tensors without a counterpart in the source."""

    @pytest.mark.parametrize(
        ("name", "index", "said"),
        [
            ("stem:bias/int", (2,), "stem:bias, channel 2, element 2: integer is 1, the source has 0"),
            ("stem:bias/zero_point", (5,), "stem:bias, channel 5: zero_point is 1, the source has 0"),
            ("pool:ones/int", (3, 0, 1, 0), "pool:ones, channel 3, element 14: integer is 2, the source has 1"),
            ("pool:ones/scale", (4,), "pool:ones, channel 4: scale is 1.25, the source has 0.25"),
            ("pool:bias/int", (0,), "pool:bias, channel 0, element 0: integer is 1, the source has 0"),
        ],
    )  # fmt: skip
    def test_a_bias_of_zeros_and_a_filter_of_ones(
        self, name: str, index: tuple[int, ...], said: str, verified: Verify
    ) -> None:
        assert after_adding(verified("separable"), "tflite", name, index, 1) == [said]

    def test_the_scale_of_a_bias_of_zeros(self, verified: Verify) -> None:
        copy = verified("separable").copy("tflite")
        scales = copy.array("stem:bias/scale")
        before = scales[1]
        scales[1] = after = np.nextafter(before, np.float32(1))
        copy.save()
        wanted = Mismatch("stem:bias", "scale", float(before), float(after), channel=1)
        assert verified("separable").compare(copy) == [wanted]

    def test_the_parameters_of_a_padded_copy(self, verified: Verify) -> None:
        (said,) = after_adding(verified("resnet"), "tflite", "input:pad/zero_point", (0,), 1)
        assert said == "input:pad: zero_point is -127, the source has -128"

    def test_a_filler_of_padding(self, tmp_path: Path) -> None:
        model, x = image_model()
        pool = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}
        made = Verified(tmp_path, model.output(model.op("MaxPool", [x], "y", (0.05, 3), **pool)))
        assert after_adding(made, "tflite", "x:lowest/int", (), 1) == [
            "x:lowest, element 0: value is -127, the source has -128"
        ]

    def test_a_tensor_that_nothing_asks_for(self, verified: Verify) -> None:
        copy = verified("resnet").copy("tflite")
        data = copy.path.read_bytes()
        assert data.count(b"input:pad\0") == 1
        copy.replace_body(copy.body.replace(b"fc.weight\0", b"zz.weight\0"))
        found = verified("resnet").compare(copy)
        assert {str(m) for m in found} == {
            "fc.weight: presence is nothing, the source has a constant",
            "zz.weight: presence is a int8 constant, the source has nothing",
        }


class TestBiases:
    def shared(self, folder: Path) -> Verified:
        """Two convolutions with one bias and one weight; the grids s_in * s_w differ."""
        model, x = image_model()
        weight = model.weight("w", int8(4, 4, 1, 1), [0.01, 0.02, 0.03, 0.04], 0)
        bias = model.constant("b", floats(4))
        x = model.op("Conv", [x, weight, bias], "first", (0.1, 0))
        return Verified(folder, model.output(model.op("Conv", [x, weight, bias], "y", (0.2, 0))))

    def test_a_bias_on_two_grids_is_two_tensors(self, tmp_path: Path) -> None:
        made = self.shared(tmp_path)
        for name in ("b/int", "b:2/int"):
            (said,) = after_adding(made, "tflite", name, (2,), 1)
            assert said.startswith("b, channel 2, element 2: integer is ")

    def test_two_uses_of_a_weight_are_one_mismatch(self, tmp_path: Path, target: str) -> None:
        (said,) = after_adding(self.shared(tmp_path), target, "w/int", (3, 1, 0, 0), 1)
        assert said.startswith("w, channel 3, element 13: integer is ")

    @pytest.mark.parametrize("kind", ["float", "another scale", "one scale"])
    def test_a_bias_off_the_grid_is_rounded_to_it(self, kind: str, tmp_path: Path) -> None:
        model, x = image_model()
        weight = model.weight("w", int8(4, 4, 1, 1), [0.01, 0.02, 0.03, 0.04], 0)
        integers = np.arange(-200, 200, 100).astype(np.int32)
        if kind == "float":
            bias = model.constant("b", floats(4))
        elif kind == "another scale":
            bias = model.weight("b", integers, [0.013, 0.017, 0.019, 0.023], 0)
        else:
            bias = model.weight("b", integers, 0.01, None)
        made = Verified(tmp_path, model.output(model.op("Conv", [x, weight, bias], "y", (0.1, 0))))
        (said,) = after_adding(made, "tflite", "b/int", (3,), -1)
        assert said.startswith("b, channel 3, element 3: integer is ")
        (said,) = after_adding(made, "tflite", "b/zero_point", (1,), 1)
        assert said == "b, channel 1: zero_point is 1, the source has 0"


class TestWeights:
    def test_uint8_with_its_zero_in_the_middle(self, tmp_path: Path, target: str) -> None:
        model, x = image_model()
        integers = (int8(4, 4, 1, 1).astype(np.int16) + 128).astype(np.uint8)
        weight = model.weight("w", integers, 0.01, None, zero=128)
        made = Verified(tmp_path, model.output(model.op("Conv", [x, weight], "y", (0.1, 0))))
        (said,) = after_adding(made, target, "w/int", (2, 0, 0, 0), 1)
        assert said.startswith("w, channel 2, element 8: integer is ")

    @pytest.mark.parametrize("transposed", [0, 1])
    def test_channels_of_a_float_linear_layer(
        self, transposed: int, tmp_path: Path, target: str
    ) -> None:
        model = OnnxModel()
        x = model.input("x", (1, 4))
        weight = model.constant("w", floats(*((3, 4) if transposed else (4, 3))))
        y = model.op("Gemm", [x, weight, model.constant("b", floats(3))], "y", transB=transposed)
        made = Verified(tmp_path, model.output(y))
        # the helper shows a TFLite weight as [in, out], whatever the source has
        index = (2, 3) if transposed and target != "tflite" else (3, 2)
        (said,) = after_adding(made, target, "w", index, 0.5)
        assert said.startswith("w, channel 2, element 11: value is ")

    def test_float_weights_that_the_file_rounds_itself(self, tmp_path: Path, target: str) -> None:
        """onnxruntime's AddQDQPairToWeight: QuantizeLinear of a constant."""
        model, x = image_model()
        model.constant("w", floats(4, 4, 1, 1))
        model.constant("w/scale", np.float32([0.01, 0.02, 0.03, 0.04]))
        model.constant("w/zero_point", np.zeros(4, np.int8))
        grid = ["w/scale", "w/zero_point"]
        for op, source, result in (
            ("QuantizeLinear", "w", "w/int"),
            ("DequantizeLinear", "w/int", "w/dq"),
        ):
            model.nodes.append(helper.make_node(op, [source, *grid], [result], axis=0))
        made = Verified(tmp_path, model.output(model.op("Conv", [x, "w/dq"], "y", (0.1, 0))))
        name = "w/dq/int" if target == "tflite" else "w"
        # more than a step of the rounding: less than that changes no integer
        (said,) = after_adding(made, target, name, (1, 3, 0, 0), 1)
        assert ", channel 1, element 7: " in said

    def test_a_quantized_weight_of_a_float_operator(self, tmp_path: Path) -> None:
        """TFLite gets its real values."""
        model = OnnxModel()
        x = model.input("x", (1, 4, 6, 6))
        weight = model.weight("w", int8(4, 4, 1, 1), [0.01, 0.02, 0.03, 0.04], 0)
        made = Verified(tmp_path, model.output(model.op("Conv", [x, weight], "y")))
        (said,) = after_adding(made, "tflite", "w", (1, 2, 0, 0), 0.001)
        assert said.startswith("w, channel 1, element 6: value is ")

    def test_scalars_and_operands_of_sums(self, tmp_path: Path, target: str) -> None:
        model = OnnxModel()
        x = model.input("x", (1, 4, 6, 6))
        x = model.op("Add", [x, model.constant("offset", np.float32(0.5))], "shifted")
        x = model.op("Add", [x, model.constant("per_channel", floats(4, 1, 1))], "y")
        made = Verified(tmp_path, model.output(x))
        index = (0,) if target == "tflite" else ()
        assert after_adding(made, target, "offset", index, 0.5) == [
            "offset, element 0: value is 1.0, the source has 0.5"
        ]
        index = (2,) if target == "tflite" else (2, 0, 0)
        (said,) = after_adding(made, target, "per_channel", index, 0.5)
        assert said.startswith("per_channel, channel 2, element 2: value is ")


class TestGraphs:
    def test_what_nothing_reads_is_not_asked_of_openvino(self, tmp_path: Path, target: str) -> None:
        model, x = image_model()
        model.weight("unused", int8(4), 0.1, None)
        model.constant("dead", floats(1))
        model.op("Add", [x, "dead"], "nowhere", (0.1, 0))
        weight = model.weight("w", int8(4, 4, 1, 1), 0.01, None)
        made = Verified(tmp_path, model.output(model.op("Conv", [x, weight], "y", (0.1, 0))))
        assert made.compare(made.copy(target)) == []

    def test_an_integer_input(self, tmp_path: Path) -> None:
        model = OnnxModel(activation="int8")
        model.inputs.append(helper.make_tensor_value_info("x", TensorProto.INT8, (1, 4, 6, 6)))
        model.constant("x/scale", np.float32(0.05))
        model.constant("x/zero_point", np.int8(3))
        inputs = ["x", "x/scale", "x/zero_point"]
        model.nodes.append(helper.make_node("DequantizeLinear", inputs, ["x/dq"]))
        weight = model.weight("w", int8(4, 4, 1, 1), 0.01, None)
        made = Verified(tmp_path, model.output(model.op("Conv", ["x/dq", weight], "y", (0.1, 0))))
        (said,) = after_adding(made, "tflite", "x/zero_point", (0,), 1)
        assert said == "x/dq: zero_point is 4, the source has 3"

    def test_a_second_rounding_with_the_same_parameters(self, tmp_path: Path, target: str) -> None:
        model, x = image_model()
        model.constant("again/scale", np.float32(0.05))
        model.constant("again/zero_point", np.uint8(131))
        grid = ["again/scale", "again/zero_point"]
        model.nodes.append(helper.make_node("QuantizeLinear", [x, *grid], ["again/int"]))
        model.nodes.append(helper.make_node("DequantizeLinear", ["again/int", *grid], ["again"]))
        weight = model.weight("w", int8(4, 4, 1, 1), 0.01, None)
        made = Verified(tmp_path, model.output(model.op("Conv", ["again", weight], "y", (0.1, 0))))
        assert made.compare(made.copy(target)) == []

    def test_a_rounding_that_only_the_artifact_has(self, verified: Verify) -> None:
        copy = verified("resnet").copy("onnx")
        assert isinstance(copy, OnnxCopy)
        node = copy.model.graph.node[0]
        again = helper.make_node("QuantizeLinear", ["bn1", *node.input[1:]], ["more/int"])
        copy.model.graph.node.append(again)
        copy.save()
        assert [str(m) for m in verified("resnet").compare(copy)] == [
            "more/int: presence is QuantizeLinear, the source has nothing"
        ]

    def test_a_rounding_that_the_artifact_lacks(self, verified: Verify) -> None:
        copy = verified("resnet").copy("onnx")
        assert isinstance(copy, OnnxCopy)
        assert copy.model.graph.node[0].output[0] == "input/int"
        copy.model.graph.node[0].output[0] = "other"
        copy.save()
        said = {str(m) for m in verified("resnet").compare(copy)}
        assert "input/int: presence is nothing, the source has QuantizeLinear" in said

    def test_bounds_of_a_clamp_are_compared_in_onnx(self, tmp_path: Path) -> None:
        model, x = image_model()
        bounds = [model.constant("low", np.float32(0)), model.constant("high", np.float32(6))]
        made = Verified(tmp_path, model.output(model.op("Clip", [x, *bounds], "y", (0.05, -128))))
        assert after_adding(made, "onnx", "high", (), 1) == [
            "high, element 0: value is 7.0, the source has 6.0"
        ]


def test_source_may_be_a_path(verified: Verify, target: str) -> None:
    from edgecv.verify.parameters import compare_parameters

    made = verified("resnet")
    assert compare_parameters(str(made.artifacts[target]), made.source) == []


def test_copies_do_not_touch_the_original(verified: Verify, target: str) -> None:
    """The helper itself: what is tampered with is the copy."""
    made = verified("resnet")
    before = made.artifacts[target].read_bytes()
    copy: Copy = made.copy(target)
    copy.array("conv1.bias/int")[0] += 1
    copy.save()
    assert made.artifacts[target].read_bytes() == before
    assert made.compare(copy) != []
