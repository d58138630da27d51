"""What ONNX's shape inference does not compare; no engine runs a model where it differs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from types import MappingProxyType
from typing import Final

from edgecv.errors import ModelLoadError
from edgecv_converters.ir import Graph, Node

__all__ = ["check_sizes"]

Shapes = list[tuple[int, ...]]


def check_sizes(graph: Graph) -> None:
    """Compare sizes that have to agree.

    Raises:
        ModelLoadError: Two of them do not; all operators where it is so are named.
    """
    wrong = []
    for node in graph.nodes:
        check = _CHECKS.get(node.op)
        if check is None or node.domain or not node.outputs[0]:
            continue
        shapes = [_shape(graph, name) for name in (*node.inputs, node.outputs[0]) if name]
        known = [shape for shape in shapes if shape is not None]
        reason = check(node, known) if len(known) == len(shapes) else None
        if reason:
            wrong.append(f"{node.op} {node.name!r} {reason}")
    if wrong:
        more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ModelLoadError(
            f"sizes of the model contradict each other: {'; '.join(wrong[:3])}{more}",
            cure="The file is damaged, or its operators fix sizes for other inputs; export the model again.",
        )


def _shape(graph: Graph, name: str) -> tuple[int, ...] | None:
    if name in graph.constants:
        return tuple(graph.constants[name].data.shape)
    return graph.values[name].shape


def _of_convolution(node: Node, shapes: Shapes) -> str | None:
    image, weight, *bias = shapes[:-1]
    group = node.attributes.get("group", 1)
    if len(weight) < 3 or len(image) != len(weight):
        return f"reads {len(image)} dimensions with weights of {len(weight)}"
    if group < 1:
        return f"has {group} groups"
    if node.op == "Conv":
        read, made = group * weight[1], weight[0]
    else:
        read, made = weight[0], group * weight[1]
    if read != image[1] or made % group:
        return f"reads {image[1]} channels with weights for {read} in {group} groups"
    if bias and prod(bias[0]) != made:
        return f"makes {made} channels with a bias for {prod(bias[0])}"
    return None if node.op == "ConvTranspose" else _of_windows(node, weight[2:], image)


def _of_depth_to_space(node: Node, shapes: Shapes) -> str | None:
    image, block = shapes[0], node.attributes.get("blocksize", 0)
    if len(image) != 4 or block < 1:
        return f"reads {len(image)} dimensions in blocks of {block}"
    whole = image[1] % block**2 == 0
    return None if whole else f"turns {image[1]} channels into blocks of {block}x{block}"


def _of_normalization(node: Node, shapes: Shapes) -> str | None:
    image, *parameters = shapes[:-1]
    counts = [prod(shape) for shape in parameters]
    channels = image[1] if len(image) > 1 else 1
    wrong = [count for count in counts if count != channels]
    return f"reads {channels} channels with parameters for {wrong[0]}" if wrong else None


def _of_pool(node: Node, shapes: Shapes) -> str | None:
    return _of_windows(node, node.ints("kernel_shape", ()), shapes[0])


def _of_windows(node: Node, kernel: tuple[int, ...], image: tuple[int, ...]) -> str | None:
    rank = len(kernel)
    strides, dilations = node.ints("strides", (1,) * rank), node.ints("dilations", (1,) * rank)
    if min((*strides, *dilations, *kernel), default=1) < 1:
        return f"has strides {list(strides)}, dilations {list(dilations)} and a window of {list(kernel)}"
    if node.attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    pads = node.ints("pads", (0,) * 2 * rank)
    for axis, size in enumerate(image[2 : 2 + rank]):
        window = dilations[axis] * (kernel[axis] - 1) + 1
        padded = size + pads[axis] + pads[rank + axis]
        if window > padded:
            return f"moves a window of {window} over {padded} elements"
    return None


def _of_reshape(node: Node, shapes: Shapes) -> str | None:
    before, after = shapes[0], shapes[-1]
    if prod(before) == prod(after):
        return None
    return f"turns {list(before)} into {list(after)}, and the number of elements differs"


_CHECKS: Final[Mapping[str, Callable[[Node, Shapes], str | None]]] = MappingProxyType(
    {
        "AveragePool": _of_pool,
        "BatchNormalization": _of_normalization,
        "Conv": _of_convolution,
        "ConvTranspose": _of_convolution,
        "DepthToSpace": _of_depth_to_space,
        "MaxPool": _of_pool,
        "Reshape": _of_reshape,
    }
)
