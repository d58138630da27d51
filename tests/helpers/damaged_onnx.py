"""Ways to damage a good ONNX model, each with the error that it ends in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx_models import small_resnet

from edgecv.errors import EdgecvError, ModelLoadError, UnsupportedError


def changed(change: Callable[[Any], None]) -> bytes:
    """``small_resnet`` with its ModelProto changed."""
    model = onnx.ModelProto.FromString(small_resnet().bytes())
    change(model)
    return model.SerializeToString()


def tensor(model: Any, name: str) -> Any:
    return next(t for t in model.graph.initializer if t.name == name)


def node(model: Any, output: str) -> Any:
    return next(n for n in model.graph.node if output in n.output)


def cycle(model: Any) -> None:
    node(model, "bn1").input[0] = "layer1.act2"


def twice_by_operators(model: Any) -> None:
    node(model, "layer1.bn1").output[0] = "bn1"


def twice_by_constants(model: Any) -> None:
    model.graph.initializer.append(tensor(model, "conv1.weight/int"))


def twice_by_both(model: Any) -> None:
    node(model, "bn1").output[0] = "conv1.weight/int"


def twice_by_inputs(model: Any) -> None:
    model.graph.input.append(model.graph.input[0])


def twice_by_outputs(model: Any) -> None:
    model.graph.output.append(model.graph.output[0])


def without_initializer(model: Any) -> None:
    model.graph.initializer.remove(tensor(model, "conv1.weight/int"))


def without_producer(model: Any) -> None:
    model.graph.output[0].name = "nowhere"


def scale(value: float) -> Callable[[Any], None]:
    return lambda model: tensor(model, "act1/scale").CopyFrom(
        onnx.numpy_helper.from_array(np.float32(value), "act1/scale")
    )


def scale_of_channel(value: float) -> Callable[[Any], None]:
    scales = np.ones(8, np.float32)
    scales[3] = value
    name = "conv1.weight/scale"
    return lambda model: tensor(model, name).CopyFrom(onnx.numpy_helper.from_array(scales, name))


def listed_zero_point(model: Any) -> None:
    """uint8 elements may be listed as int32, and then say anything."""
    zero = tensor(model, "act1/zero_point")
    zero.ClearField("raw_data")
    zero.int32_data.append(300)


def wide_zero_point(model: Any) -> None:
    name = "conv1.weight/zero_point"
    wide = np.full(8, 200, np.int32)
    tensor(model, name).CopyFrom(onnx.numpy_helper.from_array(wide, name))


def dims(name: str, *sizes: int) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        tensor(model, name).dims[:] = sizes

    return change


def input_dims(*sizes: int | str) -> Callable[[Any], None]:
    info = helper.make_tensor_value_info("input", TensorProto.FLOAT, sizes)
    return lambda model: model.graph.input[0].CopyFrom(info)


def attribute(output: str, name: str, value: Any) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        found = node(model, output).attribute
        kept = [a for a in found if a.name != name]
        del found[:]
        found.extend([*kept, helper.make_attribute(name, value)])

    return change


def name_in_latin(model: Any) -> None:
    model.graph.node[0].name = "Größe"


def function(model: Any) -> None:
    model.functions.append(helper.make_function("x", "F", ["a"], ["b"], [], model.opset_import))


def sparse(model: Any) -> None:
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [0])
    values = helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))


#: What → (the change, the kind of error, a pattern for its text).
DAMAGED: dict[str, tuple[Callable[[Any], None], type[EdgecvError], str]] = {
    "missing initializer": (
        without_initializer, ModelLoadError,
        r"'dq:conv1.weight' reads 'conv1.weight/int', which nothing produces \(a missing initializer"),
    "missing output": (without_producer, ModelLoadError, "nothing produces the output 'nowhere'"),
    "cycle": (cycle, ModelLoadError, r"\d+ operators depend on each other in a cycle"),
    "one name of two operators": (twice_by_operators, ModelLoadError, "two operators or constants produce 'bn1'"),
    "one name of two constants": (twice_by_constants, ModelLoadError, "two constants are named 'conv1.weight/int'"),
    "one name of both": (twice_by_both, ModelLoadError, "two operators or constants produce 'conv1.weight/int'"),
    "one name of two inputs": (twice_by_inputs, ModelLoadError, "two inputs have the same name"),
    "one name of two outputs": (twice_by_outputs, ModelLoadError, "two inputs or outputs have the same name"),
    "infinite scale": (scale(np.inf), ModelLoadError, "the scale of QuantizeLinear 'q:act1', channel 0, is inf"),
    "scale that is no number": (scale(np.nan), ModelLoadError, "channel 0, is nan"),
    "scale of zero": (scale(0), ModelLoadError, r"channel 0, is 0\.0"),
    "negative scale": (scale(-0.1), ModelLoadError, r"channel 0, is -0\.1"),
    "infinite scale of a channel": (
        scale_of_channel(np.inf), ModelLoadError, "'conv1.weight/scale' holds a value that is not finite"),
    "negative scale of a channel": (
        scale_of_channel(-1), ModelLoadError, r"DequantizeLinear 'dq:conv1.weight', channel 3, is -1\.0"),
    "zero point that no uint8 is": (
        listed_zero_point, ModelLoadError, "element 0 of the constant 'act1/zero_point' is 300, outside uint8"),
    "zero points of another type": (wide_zero_point, ModelLoadError, "'?dq:conv1.weight|contradict"),
    "absurd constant": (dims("conv1.weight/int", 2**40, 3, 3, 3), ModelLoadError, r"has dimensions \[1099511627776"),
    "negative constant": (dims("conv1.weight/int", -8, 3, 3, 3), ModelLoadError, r"has dimensions \[-8, 3"),
    "constant that overflows": (dims("conv1.weight/int", 2**62, 4, 4), ModelLoadError, "has dimensions"),
    "constant of no elements": (dims("conv1.weight/int", 8, 3, 3, 0), ModelLoadError, "and 216 elements"),
    "constant of a hundred dimensions": (dims("conv1.weight/int", *[1] * 100), ModelLoadError, "has 100 dimensions"),
    "absurd input": (input_dims(1, 3, 2**33, 2**33), ModelLoadError, "'input' has dimensions"),
    "input of a hundred dimensions": (input_dims(*[1] * 100), ModelLoadError, "'input' has 100 dimensions"),
    "open dimension": (
        input_dims(1, 3, "height", 16), UnsupportedError,
        r"dimension 2 of the input 'input' is height, .*--shape input=1x3x\?x16"),
    "input of other channels": (
        input_dims(1, 4, 20, 16), ModelLoadError,
        "Conv 'node:bn1' reads 4 channels with weights for 3 in 1 groups"),
    "bias of other channels": (
        lambda m: node(m, "bn1").input.__setitem__(2, "fc.bias"), ModelLoadError,
        "Conv 'node:bn1' makes 8 channels with a bias for 5"),
    "groups that do not fit": (
        attribute("bn1", "group", 2), ModelLoadError, "reads 3 channels with weights for 6 in 2 groups"),
    "no groups": (attribute("bn1", "group", 0), ModelLoadError, "contradict|has 0 groups"),
    "window larger than the picture": (
        attribute("maxpool/float", "kernel_shape", [13, 1]), ModelLoadError, "moves a window of 13 over 12 elements"),
    "negative padding": (attribute("bn1", "pads", [-9] * 4), ModelLoadError, "dimensions|contradict|window"),
    "absurd stride": (attribute("bn1", "strides", [2**63 - 1] * 2), ModelLoadError, "'strides' of Conv 'node:bn1' is"),
    "stride of zero": (attribute("bn1", "strides", [0, 0]), ModelLoadError, "contradict|has strides"),
    "absurd padding": (attribute("bn1", "pads", [2**31 - 1] * 4), ModelLoadError, "dimensions|contradict"),
    "attribute of another kind": (
        attribute("bn1", "strides", "two"), ModelLoadError, "'strides' of Conv 'node:bn1' is of kind 3, not 7"),
    "axis outside": (attribute("conv1.weight", "axis", 9), ModelLoadError, "8 scales along axis 9|contradict"),
    "operator without inputs": (
        lambda m: node(m, "bn1").ClearField("input"), ModelLoadError, "Conv 'node:bn1' has 0 inputs; it takes 2 to 3"),
    "operator without its input": (
        lambda m: node(m, "bn1").input.__setitem__(0, ""), ModelLoadError, "Conv 'node:bn1' lacks its input 'X'"),
    "control characters": (
        lambda m: setattr(m.graph.node[0], "name", "a\nb"), ModelLoadError, r"is not text \('a\\nb'\)"),
    "endless name": (lambda m: setattr(m.graph.node[0], "name", "x" * 10**6), ModelLoadError, r"is not text \('xxx"),
    "old operator set": (lambda m: setattr(m.opset_import[0], "version", 8), UnsupportedError, "operator set 8"),
    "absurd operator set": (lambda m: setattr(m.opset_import[0], "version", 2**62), UnsupportedError, "set 46"),
    "no operator set": (lambda m: m.ClearField("opset_import"), ModelLoadError, "does not say which operator set"),
    "functions": (function, UnsupportedError, "calls 1 functions of its own.*inline_local_functions"),
    "sparse constants": (sparse, UnsupportedError, "sparse constants"),
    "strings": (
        lambda m: setattr(tensor(m, "conv1.weight/int"), "data_type", TensorProto.STRING), UnsupportedError,
        "element type STRING.*Types that are read: float32"),
    "no operators": (lambda m: m.graph.ClearField("node"), ModelLoadError, "no graph, no operators"),
    "no outputs": (lambda m: m.graph.ClearField("output"), ModelLoadError, "no outputs"),
    "no graph": (lambda m: m.ClearField("graph"), ModelLoadError, "no graph"),
}  # fmt: skip
