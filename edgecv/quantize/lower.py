"""From a captured graph to plain data: BatchNorm folded, shapes fixed, names final."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node

from edgecv.errors import InputError, UnsupportedError
from edgecv.qdq import (
    Attribute,
    FloatGraph,
    FloatWeight,
    Operator,
    QuantizedWeight,
    WeightNames,
)
from edgecv.quantize.naming import Canonical, canonical
from edgecv.quantize.spelling import aten, operands
from edgecv.spec import fold_batch_norm, quantize_weight, weight_scales

__all__ = ["float_graph", "quantized_weights", "set_exact_constants"]

Array = npt.NDArray[Any]
Attributes = dict[str, Attribute]


def float_graph(captured: GraphModule, input_size: tuple[int, int]) -> FloatGraph:
    """The graph with its float weights; quantizer modules are looked through.

    Raises:
        InputError: The model does not run at *input_size*.
        UnsupportedError: A pool that ONNX cannot say.
    """
    shapes = _Shapes(captured).of(input_size)
    names: dict[Node, str] = {}
    operators: list[Operator] = []
    weights: dict[str, FloatWeight] = {}
    parameters: dict[str, Array] = {}
    for node in captured.graph.nodes:
        what = canonical(node)
        if what is None or what.kind in ("dropout", "batch_norm"):
            # a quantizer, dropout or a folded BatchNorm carries the tensor before it
            if node.all_input_nodes and node.all_input_nodes[0] in names:
                names[node] = names[node.all_input_nodes[0]]
            continue
        if what.kind == "input":
            names[node] = what.name
            continue
        norm = _batch_norm_behind(node, captured)
        names[node] = _final_name(node, what)
        constants = _constant_names(node, what)
        if constants is not None:
            weights[constants.weight] = _folded(captured, node, norm)
        found = _parameters_of(node, what, captured)
        parameters.update(found)
        operators.append(
            Operator(
                names[node],
                what.kind,
                _inputs(node, names),
                _attributes(node, what, shapes),
                constants,
                tuple(found),
            )
        )
    classes = int(shapes[captured.graph.output_node().args[0]][1])  # type: ignore[index]
    return FloatGraph(tuple(operators), weights, input_size, classes, parameters)


def _inputs(node: Node, names: Mapping[Node, str]) -> tuple[str, ...]:
    """Names of the activations that *node* reads, in order."""
    return tuple(names[a] for a in operands(node) if a in names)


def _parameters_of(node: Node, what: Canonical, captured: GraphModule) -> dict[str, Array]:
    """Constants that stay float: scale and offset of a layer_norm."""
    if what.kind != "layer_norm":
        return {}
    paths = [str(_parameter_node(value).target) for value in node.args[2:4]]
    return {path: _array(captured, path).astype(np.float32) for path in paths}


def quantized_weights(qat: GraphModule) -> dict[str, QuantizedWeight]:
    """Integers, scales and biases of every weight, with BatchNorm folded into the scales exactly."""
    found = {}
    for node in qat.graph.nodes:
        what = canonical(node)
        names = _constant_names(node, what) if what is not None else None
        if names is None:
            continue
        values, bias = _parameters(qat, node)
        scale = weight_scales(values)
        integers = quantize_weight(values, scale)
        norm = _batch_norm_behind(node, qat)
        if norm is not None:
            scale, integers, bias = fold_batch_norm(scale, integers, bias, **_statistics(norm))
        found[names.weight] = QuantizedWeight(integers, scale, bias)
    return found


def set_exact_constants(qat: GraphModule, constants: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    """Let the model compute with given weights and biases, BatchNorm folded into them.

    Args:
        qat: Changed in place: weight quantizers give the weights, BatchNorms only add the biases.
        constants: Name of the weight → (weight [C, ...], bias [C]), of every weight.
    """
    for node in qat.graph.nodes:
        what = canonical(node)
        names = _constant_names(node, what) if what is not None else None
        if names is None:
            continue
        weight, bias = constants[names.weight]
        quantizer = node.args[1]
        assert isinstance(quantizer, Node)
        qat.set_submodule(str(quantizer.target), _Constant(weight))
        own = None if node.args[2] is None else _parameter_node(node.args[2])
        follower = _batch_norm_node(node)
        if follower is not None:
            qat.set_submodule(str(follower.target), _AddBias(bias))
        if own is not None:
            with torch.no_grad():
                parameter = qat.get_parameter(str(own.target))
                parameter.copy_(bias if follower is None else torch.zeros_like(bias))


class _Constant(nn.Module):
    """In place of a weight's quantizer: the values that were given."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.register_buffer("values", values)

    def forward(self, weight: Tensor) -> Tensor:
        """The values, whatever *weight* is."""
        return self.get_buffer("values")


class _AddBias(nn.Module):
    """In place of a folded BatchNorm: what is left of it, [C]."""

    def __init__(self, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        """*x* [N, C, H, W] plus the bias."""
        return x + self.get_buffer("bias").view(1, -1, 1, 1)


class _Shapes(Interpreter):
    """Runs the graph once on a black picture and keeps every shape."""

    def __init__(self, captured: GraphModule) -> None:
        super().__init__(captured)
        self.shapes: dict[Node, tuple[int, ...]] = {}

    def run_node(self, n: Node) -> Any:
        """Run one node and note its shape."""
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.shapes[n] = tuple(result.shape)
        return result

    def of(self, input_size: tuple[int, int]) -> dict[Node, tuple[int, ...]]:
        """Shape of every tensor at batch 1 and *input_size*."""
        module = self.module
        training = module.training
        device = next(module.parameters()).device
        module.eval()
        try:
            with torch.no_grad():
                self.run(torch.zeros(1, 3, *input_size, device=device))
        except RuntimeError as error:
            raise InputError(
                f"the model does not run at input size {input_size} ({str(error).splitlines()[0]})",
                cure="Export with the size that it was made for.",
            ) from error
        finally:
            module.train(training)
        return self.shapes


def _batch_norm_behind(node: Node, captured: GraphModule) -> nn.BatchNorm2d | None:
    follower = _batch_norm_node(node)
    if follower is None:
        return None
    module = captured.get_submodule(str(follower.target))
    assert isinstance(module, nn.BatchNorm2d)
    return module


def _batch_norm_node(node: Node) -> Node | None:
    users = list(node.users)
    what = canonical(users[0]) if len(users) == 1 else None
    return users[0] if what is not None and what.kind == "batch_norm" else None


def _final_name(node: Node, what: Canonical) -> str:
    """Name of the tensor behind a folded BatchNorm."""
    follower = _batch_norm_node(node)
    behind = canonical(follower) if follower is not None else None
    return what.name if behind is None else behind.name


def _constant_names(node: Node, what: Canonical) -> WeightNames | None:
    if what.kind not in ("conv", "linear"):
        return None
    weight = _parameter_node(node.args[1])
    owner, _, _ = str(weight.target).rpartition(".")
    return WeightNames(str(weight.target), f"{owner}.bias")


def _parameter_node(value: Any) -> Node:
    """The ``get_attr`` node behind a weight's quantizer."""
    assert isinstance(value, Node)
    return value if value.op == "get_attr" else value.all_input_nodes[0]


def _parameters(captured: GraphModule, node: Node) -> tuple[Array, Array]:
    """Weight [C, ...] float32 and bias [C] float64 (zeros when there is none)."""
    values = _array(captured, str(_parameter_node(node.args[1]).target)).astype(np.float32)
    if node.args[2] is None:
        return values, np.zeros(len(values))
    return values, _array(captured, str(_parameter_node(node.args[2]).target)).astype(np.float64)


def _array(captured: GraphModule, path: str) -> Array:
    parent, _, name = path.rpartition(".")
    tensor: Tensor = getattr(captured.get_submodule(parent), name)
    result: Array = tensor.detach().cpu().numpy()
    return result


def _statistics(norm: nn.BatchNorm2d) -> dict[str, Any]:
    """Arguments of :func:`fold_batch_norm`; a BatchNorm without weights has gamma 1 and beta 0."""
    assert norm.running_mean is not None  # capture refuses the others
    assert norm.running_var is not None
    mean, var = (t.detach().cpu().numpy() for t in (norm.running_mean, norm.running_var))
    gamma = np.ones_like(mean) if norm.weight is None else norm.weight.detach().cpu().numpy()
    beta = np.zeros_like(mean) if norm.bias is None else norm.bias.detach().cpu().numpy()
    return {"gamma": gamma, "beta": beta, "mean": mean, "var": var, "eps": norm.eps}


def _folded(captured: GraphModule, node: Node, norm: nn.BatchNorm2d | None) -> FloatWeight:
    values, bias = _parameters(captured, node)
    if norm is not None:
        s = _statistics(norm)
        factor = s["gamma"].astype(np.float64) / np.sqrt(s["var"].astype(np.float64) + s["eps"])
        bias = s["beta"] + (bias - s["mean"]) * factor
        values = (values * factor.reshape(-1, *[1] * (values.ndim - 1))).astype(np.float32)
    return FloatWeight(values, bias.astype(np.float32))


def _attributes(node: Node, what: Canonical, shapes: dict[Node, tuple[int, ...]]) -> Attributes:
    if what.kind == "conv":
        _, _, _, stride, padding, dilation, groups = node.args
        weight = shapes[_parameter_node(node.args[1])]
        return {
            "kernel_shape": weight[2:],
            "strides": _ints(stride),
            "pads": _ints(padding) * 2,
            "dilations": _ints(dilation),
            "group": int(groups),  # type: ignore[arg-type]
        }
    if what.kind == "max_pool":
        _, kernel, stride, padding, dilation, _ = node.args
        pads = _pool_pads(node, shapes, kernel, stride, padding, dilation)
        return {
            "kernel_shape": _ints(kernel),
            "strides": _ints(stride),
            "pads": pads,
            "dilations": _ints(dilation),
        }
    simple = _SIMPLE_ATTRIBUTES.get(what.kind)
    if simple is not None:
        return simple(node, shapes)
    if what.kind == "avg_pool" and node.target is aten.avg_pool2d.default:
        return _average_pool(node, what, shapes)
    return {}


def _linear_attributes(node: Node, shapes: dict[Node, tuple[int, ...]]) -> Attributes:
    source = node.args[0]
    assert isinstance(source, Node)
    return {"rank": len(shapes[source])}


def _reshape_attributes(node: Node, shapes: dict[Node, tuple[int, ...]]) -> Attributes:
    return {} if node.target is aten.flatten.using_ints else {"shape": shapes[node]}


def _epsilon(node: Node, shapes: dict[Node, tuple[int, ...]]) -> Attributes:
    epsilon: Any = node.args[4]
    return {"epsilon": float(epsilon), "axis": -1}


#: kind → how its attributes are read, where it takes one line.
_SIMPLE_ATTRIBUTES: dict[str, Callable[[Node, dict[Node, tuple[int, ...]]], Attributes]] = {
    "concat": lambda node, _: {"axis": int(node.args[1])},  # type: ignore[arg-type]
    "hardsigmoid": lambda _node, _: {"alpha": 1 / 6, "beta": 0.5},  # relu6(x + 3) / 6
    "layer_norm": _epsilon,
    "linear": _linear_attributes,
    "reshape": _reshape_attributes,
    "softmax": lambda _node, _: {"axis": -1},
    "transpose": lambda node, _: {"perm": _ints(node.args[1])},
}


def _average_pool(node: Node, what: Canonical, shapes: dict[Node, tuple[int, ...]]) -> Attributes:
    _, kernel, stride, padding, _, count_pad = node.args
    pads = _pool_pads(node, shapes, kernel, stride, padding, (1, 1))
    beyond = pads[2:] != _ints(padding)
    if beyond and count_pad and any(_ints(padding)):
        raise UnsupportedError(
            f"the average pool {what.name!r} counts its padding but not what ceil_mode adds",
            cure="Use an input size that its stride divides, or count_include_pad=False.",
        )
    return {
        "kernel_shape": _ints(kernel),
        "strides": _ints(stride),
        "pads": pads,
        "count_include_pad": int(bool(count_pad) and any(_ints(padding))),
    }


def _pool_pads(
    node: Node,
    shapes: dict[Node, tuple[int, ...]],
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
) -> tuple[int, ...]:
    """ONNX pads that give the size that torch gives: ceil_mode becomes padding at the end."""
    source = node.args[0]
    assert isinstance(source, Node)
    ends = []
    for axis in (0, 1):
        before, after = shapes[source][2 + axis], shapes[node][2 + axis]
        reach = (after - 1) * stride[axis] + dilation[axis] * (kernel[axis] - 1) + 1
        ends.append(max(padding[axis], reach - before - padding[axis]))
    return (*_ints(padding), *ends)


def _ints(values: Any) -> tuple[int, ...]:
    return tuple(int(v) for v in values)
