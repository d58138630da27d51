"""What a stranger's graph itself says: how it ends, and whether its activations are integers.

Only operators and their order are read, without an engine. What cannot be read says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from edgecv.artifact import ModelFile
from edgecv.artifact.flatbuffer import IDENTIFIER, Kind, Tables, Vector, read_tables
from edgecv.artifact.onnx_entry import fields
from edgecv.errors import ModelLoadError

__all__ = ["precision", "score_kind"]

#: Operators that change the form of scores and not what they are.
_FORMS: Final = frozenset(
    {"cast", "convert", "dequantize", "dequantizelinear", "fakequantize", "flatten", "identity"}
    | {"quantize", "quantizelinear", "reshape", "result", "squeeze", "unsqueeze"}
)
_PROBABILITIES: Final = frozenset(
    {"softmax", "sigmoid", "logistic", "qlinearsoftmax", "qlinearsigmoid"}
)
#: Operators that classifiers end with before a softmax; LogSoftmax's softmax is the softmax.
_LOGITS: Final = frozenset(
    {"fully_connected", "gemm", "matmul", "batch_matmul", "conv", "conv_2d", "convolution", "add"}
    | {"average_pool_2d", "mean", "reducemean", "avgpool", "globalaveragepool", "averagepool"}
    | {"globalaveragepool", "log_softmax", "logsoftmax", "qgemm", "qlinearmatmul", "qlinearadd"}
    | {"qlinearconv", "qlinearglobalaveragepool"}
)
_LONGEST_TAIL: Final = 32

#: TFLite builtin operators by number (``schema.fbs``, BuiltinOperator), as far as they matter here.
_TFLITE_OPS: Final = {
    0: "add", 1: "average_pool_2d", 3: "conv_2d", 6: "dequantize", 9: "fully_connected", 14: "logistic",
    22: "reshape", 25: "softmax", 40: "mean", 43: "squeeze", 50: "log_softmax", 53: "cast",
    114: "quantize", 126: "batch_matmul",
}  # fmt: skip
_INTS, _RAW = Vector("i32"), Vector("u8")
_TFLITE: Final[Mapping[str, Mapping[int, Kind]]] = {
    "Model": {1: Tables("Code"), 2: Tables("Graph"), 4: Tables("Buffer")},
    "Code": {0: "i8", 3: "i32"},
    "Graph": {0: Tables("Tensor"), 2: _INTS, 3: Tables("Operator")},
    "Tensor": {1: "i8", 2: "u32"},
    "Operator": {0: "u32", 1: _INTS, 2: _INTS},
    "Buffer": {0: _RAW},
}
_INT8, _UINT8 = 9, 3
# onnx.proto: ModelProto.graph, GraphProto.node and .output, NodeProto, ValueInfoProto.name
_GRAPH, _NODE, _OUTPUT, _NODE_INPUT, _NODE_OUTPUT, _OP_TYPE, _VALUE_NAME = 7, 1, 12, 1, 2, 4, 1
# each character is looked at a bounded number of times, whatever a hostile xml holds
_NODE_TEXTS: Final = (_NODE_INPUT, _NODE_OUTPUT, _OP_TYPE)
_LAYER = re.compile(rb'<layer\s((?:[\w-]++="[^"]*"\s*+)*+)/?>')
_EDGE = re.compile(rb'<edge\s((?:[\w-]++="[^"]*"\s*+)*+)/?>')
_ATTRIBUTE = re.compile(rb'(?<![\w-])([\w-]++)="([^"]*)"')


@dataclass(frozen=True)
class _Outline:
    """A graph as far as it matters.

    Attributes:
        producers: Tensor or layer → operator in lower case, and what its first input is.
        output: The only output, or None.
        integers: Whether activations are 8-bit integers somewhere.
    """

    producers: Mapping[object, tuple[str, object]]
    output: object
    integers: bool


def score_kind(file: ModelFile) -> str:
    """What a classifier's output is, by the operator it ends with.

    Returns:
        ``"probability"`` behind a softmax or a sigmoid, ``"logit"`` behind a linear layer,
        convolution, addition or pool, ``""`` where the graph does not tell.
    """
    graph = _outline(file)
    if graph is None or graph.output is None:
        return ""
    tensor = graph.output
    for _ in range(_LONGEST_TAIL):
        operator, tensor = graph.producers.get(tensor, ("", None))
        if operator in _PROBABILITIES:
            return "probability"
        if operator in _LOGITS:
            return "logit"
        if operator not in _FORMS:
            break
    return ""


def precision(file: ModelFile) -> str:
    """``"int8"`` where activations are 8-bit integers somewhere in the graph, else ``"float32"``."""
    graph = _outline(file)
    return "int8" if graph is not None and graph.integers else "float32"


def _outline(file: ModelFile) -> _Outline | None:
    try:
        reader = _READERS.get(file.kind)
        return reader(file.body) if reader is not None else None
    except (ModelLoadError, ValueError, LookupError):
        # taken with check="off", or of a form that this reader does not know
        return None


def _tflite(body: bytes) -> _Outline:
    model = read_tables(body, _TFLITE, "Model", IDENTIFIER)
    # numbers above 127 stand in the newer field
    numbers = [max(code.get(0, 0), code.get(3, 0)) for code in model.get(1, [])]
    graph, buffers = model[2][0], model.get(4, [])
    producers: dict[object, tuple[str, object]] = {}
    for operator in graph.get(3, []):
        inputs = operator.get(1, ())
        name = _TFLITE_OPS.get(numbers[operator.get(0, 0)], "other")
        for output in operator.get(2, ()):
            producers[output] = (name, inputs[0] if inputs else None)
    outputs = graph.get(2, ())
    integers = any(
        tensor.get(1, 0) in (_INT8, _UINT8) and not len(buffers[tensor.get(2, 0)].get(0, ()))
        for tensor in graph.get(0, [])
    )
    return _Outline(producers, outputs[0] if len(outputs) == 1 else None, integers)


def _onnx(body: bytes) -> _Outline:
    [graph] = [field for field in fields(body, 0, len(body)) if field.number == _GRAPH]
    producers: dict[object, tuple[str, object]] = {}
    outputs, integers = [], False
    for field in fields(body, graph.begin, graph.end):
        if field.number == _NODE:
            inside = fields(body, field.begin, field.end)
            inner = [(f.number, body[f.begin : f.end]) for f in inside if f.number in _NODE_TEXTS]
            operator = next((v for n, v in inner if n == _OP_TYPE), b"").decode("utf-8").lower()
            source = next((value for number, value in inner if number == _NODE_INPUT), None)
            for number, value in inner:
                if number == _NODE_OUTPUT:
                    producers[value] = (operator, source)
            # the placement of integers, not of the weights alone
            integers |= operator.startswith(("quantizelinear", "qlinear", "dynamicquantize"))
        elif field.number == _OUTPUT:
            named = fields(body, field.begin, field.end)
            outputs += [body[f.begin : f.end] for f in named if f.number == _VALUE_NAME]
    return _Outline(producers, outputs[0] if len(outputs) == 1 else None, integers)


def _openvino(body: bytes) -> _Outline | None:
    if b"<body" in body:
        # bodies of loops count their layers from 0 again
        return None
    kinds: dict[bytes, str] = {}
    for element in _LAYER.finditer(body):
        said = dict(_ATTRIBUTE.findall(element.group(1)))
        kinds[said[b"id"]] = said[b"type"].decode("utf-8").lower()
    sources: dict[tuple[bytes, bytes], bytes] = {}
    for edge in _EDGE.finditer(body):
        said = dict(_ATTRIBUTE.findall(edge.group(1)))
        sources[said[b"to-layer"], said[b"to-port"]] = said[b"from-layer"]

    def is_constant(layer: bytes | None) -> bool:
        if layer is not None and kinds.get(layer) == "convert":
            layer = sources.get((layer, b"0"))
        return layer is not None and kinds.get(layer) == "const"

    producers: dict[object, tuple[str, object]] = {}
    for layer, kind in kinds.items():
        # a zero point and a scale behind integers
        scaled = kind in ("multiply", "subtract") and is_constant(sources.get((layer, b"1")))
        producers[layer] = ("dequantize" if scaled else kind, sources.get((layer, b"0")))
    results = [layer for layer, kind in kinds.items() if kind == "result"]
    return _Outline(
        producers, results[0] if len(results) == 1 else None, "fakequantize" in kinds.values()
    )


_READERS: Final[Mapping[str, Callable[[bytes], _Outline | None]]] = {
    "tflite": _tflite,
    "onnx": _onnx,
    "openvino": _openvino,
}
