"""The float model that a quantized one would be: what its speed is compared with.

Quantizers of activations vanish, integer constants become the real numbers that they stand for. What
a quantizer did besides rounding (the clipping that a stranger's ReLU became) is gone, too, so that the
twin is for measuring time, not accuracy.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

from edgecv.errors import UnsupportedError
from edgecv_converters.nodes import constant_value, is_constant
from edgecv_converters.reader import parse
from edgecv_converters.tensors import to_array

__all__ = ["float_twin"]

_PAIR: Final = ("QuantizeLinear", "DequantizeLinear")


def float_twin(source: bytes) -> bytes:
    """A QDQ ONNX file without its quantization.

    Args:
        source: The file.

    Returns:
        A float ONNX file of the same arithmetic; inputs and outputs are float32.

    Raises:
        ModelLoadError: Not an ONNX file.
        UnsupportedError: There is no quantization that could be taken away.
    """
    model = parse(source)
    graph = model.graph
    constants = {t.name: to_array(t) for t in graph.initializer}
    constants |= {n.output[0]: constant_value(n) for n in graph.node if is_constant(n)}
    renamed: dict[str, str] = {}
    kept, reals = [], {}
    for node in graph.node:
        if node.op_type not in _PAIR:
            kept.append(node)
        elif node.op_type == "DequantizeLinear" and node.input[0] in constants:
            reals[node.output[0]] = _real(node, constants)
        else:
            renamed[node.output[0]] = node.input[0]
    if len(kept) == len(graph.node):
        raise UnsupportedError(
            "the model has no quantizers, so it has no float twin", cure="Give a QDQ ONNX file."
        )
    twin = ModelProto()
    twin.CopyFrom(model)
    del twin.graph.node[:]
    twin.graph.node.extend(kept)
    # types of tensors that were integers
    del twin.graph.value_info[:]
    for node in twin.graph.node:
        for k, name in enumerate(node.input):
            node.input[k] = _first(name, renamed)
    _keep_edges(twin, renamed)
    used = {name for node in twin.graph.node for name in node.input}
    initializers = [t for t in twin.graph.initializer if t.name in used]
    initializers += [numpy_helper.from_array(v, k) for k, v in reals.items() if k in used]
    del twin.graph.initializer[:]
    twin.graph.initializer.extend(initializers)
    result: bytes = twin.SerializeToString()
    return result


def _real(node: Any, constants: dict[str, Any]) -> Any:
    """The real numbers of a dequantized constant."""
    values, scale = constants[node.input[0]].astype(np.float64), constants[node.input[1]]
    zero_point = constants[node.input[2]] if len(node.input) > 2 and node.input[2] else np.zeros(1)
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)

    def spread(parameter: Any) -> Any:
        """One value, or one per channel along the axis."""
        if np.size(parameter) == 1:
            return np.asarray(parameter, np.float64).reshape(-1)[0]
        shape = [1] * values.ndim
        shape[axis] = -1
        return np.asarray(parameter, np.float64).reshape(shape)

    return ((values - spread(zero_point)) * spread(scale)).astype(np.float32)


def _first(name: str, renamed: dict[str, str]) -> str:
    """Where a value comes from, quantizers skipped."""
    while name in renamed:
        name = renamed[name]
    return name


def _keep_edges(twin: Any, renamed: dict[str, str]) -> None:
    """Inputs and outputs keep their names and become float32."""
    for value in (*twin.graph.input, *twin.graph.output):
        if value.type.tensor_type.elem_type in (TensorProto.INT8, TensorProto.UINT8):
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for value in twin.graph.output:
        source = _first(value.name, renamed)
        if source == value.name:
            continue
        for node in twin.graph.node:
            for names in (node.input, node.output):
                for k, name in enumerate(names):
                    if name == source:
                        names[k] = value.name
