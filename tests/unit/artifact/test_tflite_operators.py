"""Operators that contradict their tensors or options are refused before an engine dies of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np
import onnx_models
import pytest
from ai_edge_litert import schema_py_generated as schema
from tflite_graph import TFLiteGraph

from edgecv.artifact import tflite_operators
from edgecv.artifact.flatbuffer import check_flatbuffer
from edgecv.errors import ModelLoadError, UnsupportedError
from edgecv_converters import convert_model

F32, I32, U8, I8, I16 = 0, 2, 3, 9, 7
Op = schema.BuiltinOperator


def named(kind: Any) -> dict[int, str]:
    return {number: name for name, number in vars(kind).items() if isinstance(number, int)}


def test_the_tables_are_the_schemas() -> None:
    """Numbers, names, fields in their order and defaults."""
    operators = named(Op)
    for number, rule in enumerate(tflite_operators.OPERATORS):
        assert operators[number].startswith(rule.name)
    tables = named(schema.BuiltinOptions)
    for number, (name, fields) in tflite_operators._TABLES.items():
        assert tables[number] == name
        # two fields that are deprecated have their slots, and no attribute
        deprecated = [0, 0] if name == "ResizeBilinearOptions" else []
        defaults = [*deprecated, *vars(getattr(schema, f"{name}T")()).values()]
        for field in fields:
            assert (defaults[field.slot] or 0) == field.default, (name, field)


@pytest.mark.parametrize("quantized", [True, False])
@pytest.mark.parametrize("net", [onnx_models.small_resnet, onnx_models.many_operators])
def test_what_our_converter_writes_passes(net: Callable[..., Any], quantized: bool) -> None:
    body = convert_model(net(quantized=quantized).bytes(), "tflite").files[".tflite"]
    check_flatbuffer(body, legacy=True)


def one(
    code: int, options: Any, inputs: list[tuple[Any, ...]], outputs: list[tuple[Any, ...]]
) -> bytes:
    """A model of one operator. A tensor is its shape and, where it differs from float32, type, data, scale."""
    net = TFLiteGraph()

    def tensor(
        shape: tuple[int, ...], dtype: int = F32, data: Any = None, scale: Any = None
    ) -> int:
        kind = {F32: np.float32, I32: np.int32, I8: np.int8, U8: np.uint8}.get(dtype, np.float32)
        content = None if data is None else np.array(data, kind)
        zero = None if scale is None else 0
        return net.tensor(f"t{len(net.graph.tensors)}", shape, dtype, content, scale, zero)

    given = [tensor(*entry) for entry in inputs]
    made = [tensor(*entry) for entry in outputs]
    number = 0
    if options is not None:
        kind = type(options).__name__.removesuffix("T")
        number = getattr(schema.BuiltinOptions, kind)
    net.op(code, 1, number, options, given, made)
    return net.pack([t for t in given if net.graph.tensors[t].buffer == 0], made)


def options(kind: str, **values: Any) -> Any:
    made = getattr(schema, f"{kind}OptionsT")()
    for name, value in values.items():
        assert hasattr(made, name)
        setattr(made, name, value)
    return made


def conv(**values: Any) -> bytes:
    """A sound 3x3 convolution of 8x6 pixels, but for *values*."""
    shapes = {"image": (1, 8, 6, 4), "kernel": (2, 3, 3, 4), "bias": (2,), "result": (1, 8, 6, 2)}
    shapes.update({name: values.pop(name) for name in list(values) if name in shapes})
    made = options("Conv2D", **{"strideW": 1, "strideH": 1, **values})
    tensors = list(shapes.values())
    return one(Op.CONV_2D, made, [(shape,) for shape in tensors[:3]], [(tensors[3],)])


def depthwise(multiplier: int, inputs: int = 3) -> bytes:
    made = options("DepthwiseConv2D", strideW=1, strideH=1, depthMultiplier=multiplier)
    tensors = [((1, 8, 6, 4),), ((1, 3, 3, 8),), ((8,),)][:inputs]
    return one(Op.DEPTHWISE_CONV_2D, made, tensors, [((1, 8, 6, 8),)])


def pool(**values: Any) -> bytes:
    given = {"strideW": 1, "strideH": 1, "filterWidth": 2, "filterHeight": 2, "padding": 1}
    made = options("Pool2D", **{**given, **values})
    return one(Op.MAX_POOL_2D, made, [((1, 8, 6, 4),)], [((),)])


def mean(axes: list[int]) -> bytes:
    tensors = [((1, 8, 6, 4),), ((len(axes),), I32, axes)]
    return one(Op.MEAN, options("Reducer"), tensors, [((),)])


def moved(code: int, values: list[int], made: Any = None, dtype: int = I32) -> bytes:
    """An operator on [1, 8, 6, 4] and a constant."""
    tensors = [((1, 8, 6, 4),), ((len(values),), dtype, values)]
    return one(code, made, tensors, [((),)])


def added(left: tuple[Any, ...], right: tuple[Any, ...], result: tuple[Any, ...]) -> bytes:
    return one(Op.ADD, options("Add"), [left, right], [result])


def test_sound_operators_pass() -> None:
    for body in (
        conv(),
        depthwise(2),
        pool(),
        mean([1, -2]),
        moved(Op.RESHAPE, [1, -1]),
        moved(Op.TRANSPOSE, [0, 3, 1, 2]),
        moved(Op.PAD, [0, 0, 1, 1, 1, 1, 0, 0]),
        added(((1, 4), I8, None, 0.1), ((1, 4), I8, None, 0.2), ((1, 4), I8, None, 0.3)),
    ):
        check_flatbuffer(body, legacy=True)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (conv(strideW=0), "operator 0, CONV_2D: stride_w is 0"),
        (conv(strideH=2**30), "stride_h is 1073741824"),
        (conv(dilationHFactor=0), "dilation_h is 0"),
        (conv(padding=7), "padding is 7"),
        (conv(fusedActivationFunction=77), "activation is 77"),
        (conv(kernel=(2, 3, 4)), r"its input 1 has the shape \[2, 3, 4\], not 4 sizes"),
        (conv(kernel=(2, 3, 3, 3)), r"a filter of shape \[2, 3, 3, 3\] does not fit \[1, 8, 6, 4\]"),
        (conv(kernel=(2, 0, 3, 4)), "a dimension of size 0"),
        (conv(kernel=(2, 9, 3, 4), padding=1), "its window of 9 is larger than the picture"),
        (conv(bias=(3,)), "2 channels and 3 biases"),
        (conv(image=(1, 8, 7667718, 4)), r"its result has the shape \[1, 8, 7667718, 2\], the file says"),
        (depthwise(3), "8 channels are not 3 for each of 4"),
        (pool(filterWidth=0), "filter_w is 0"),
        (pool(filterHeight=9), "its window of 9 is larger"),
        (mean([4]), "axis 4 of a tensor of 4 dimensions"),
        (mean([0, 1, 2, 3, 0]), "5 axes"),
        (moved(Op.RESHAPE, [5, -1]), r"\[1, 8, 6, 4\] cannot become \[5, -1\]"),
        (moved(Op.RESHAPE, [-1, -1]), "cannot become"),
        (moved(Op.RESHAPE, [2**31 - 1]), "cannot become"),
        (moved(Op.TRANSPOSE, [0, 1, 2, 2]), r"the order \[0, 1, 2, 2\]"),
        (moved(Op.TRANSPOSE, [0, 1, 2]), "3 numbers, not 4"),
        (moved(Op.PAD, [0, 0, 1, -1, 1, 1, 0, 0]), "it pads by -1"),
        (moved(Op.TILE, [1, 2**20, 2**20, 1]), "its result would have the shape"),
        (moved(Op.TILE, [1, 2, 2, 1], dtype=F32), "does not hold integers"),
        (moved(Op.GATHER, [8], options("Gather", axis=1)), "it gathers place 8 of 8"),
        (moved(Op.GATHER, [0], options("Gather", axis=4)), "axis 4"),
        (moved(Op.RESIZE_BILINEAR, [0, 4], options("ResizeBilinear")), "a dimension of size 0"),
        (moved(Op.TOPK_V2, [5]), "has 1 outputs"),
        (one(Op.SPACE_TO_DEPTH, options("SpaceToDepth"), [((1, 8, 6, 4),)], [((),)]), "block is 0"),
        (one(Op.ADD, options("Add"), [((1, 4),)], [((1, 4),)]), "it has 1 inputs"),
        (one(Op.CUMSUM, options("Cumsum"), [((4,),), ((), I32, 0)], [((4,), U8)]), "not of its input's type"),
        (added(((1, 4), 5), ((1, 4), 5), ((1, 4), 5)), "has tensors of the types"),
        (added(((1, 4), 13), ((1, 4), 13), ((1, 4), 13)), "has tensors of the types"),
        (added(((1, 4),), ((1, 3),), ((1, 4),)), r"shapes \[1, 4\], \[1, 3\] do not fit"),
        (added(((1, 4),), ((1, 4),), ((2, 4),)), r"has the shape \[1, 4\], the file says \[2, 4\]"),
        (added(((1, 4), I8), ((1, 4), I8), ((1, 4), I8)), "the integers of 't0' have no scale"),
        (added(((1, 4), I8, None, 0.0), ((1, 4), I8, None, 1.0), ((1, 4), I8, None, 1.0)), "have no scale"),
        (added(((1, 4), I8, None, 1.0), ((1, 4), I8, None, 1.0), ((1, 4), I8, None, 1e-9)), "too small"),
        (added(((1, 4), I8, None, 1.0), ((1, 4), I8, None, 1.0), ((1, 4), U8, None, 1.0)), "of the types"),
    ],
)  # fmt: skip
def test_what_would_kill_an_engine_is_named(body: bytes, message: str) -> None:
    with pytest.raises(ModelLoadError, match=message):
        check_flatbuffer(body)


def edited(edit: Callable[[Any, Any], None]) -> bytes:
    """The converter's net of many operators after *edit* of its model and first graph."""
    body = convert_model(onnx_models.many_operators().bytes(), "tflite").files[".tflite"]
    model = schema.ModelT.InitFromPackedBuf(bytearray(body), 0)
    edit(model, model.subgraphs[0])
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _reversed(_: Any, graph: Any) -> None:
    graph.operators.reverse()


def _written_twice(_: Any, graph: Any) -> None:
    graph.operators.append(graph.operators[-1])


def constant(model: Any, graph: Any) -> int:
    """The first tensor with content."""
    stored = [model.buffers[tensor.buffer].data is not None for tensor in graph.tensors]
    return stored.index(True)


def _constant_input(model: Any, graph: Any) -> None:
    graph.inputs = [constant(model, graph)]


def _unwritten_output(_: Any, graph: Any) -> None:
    graph.operators.pop()


def _left_out(_: Any, graph: Any) -> None:
    graph.operators[-1].inputs[0] = -1


def _without_options(model: Any, graph: Any) -> None:
    for operator in graph.operators:
        if model.operatorCodes[operator.opcodeIndex].builtinCode == Op.CONV_2D:
            operator.builtinOptions, operator.builtinOptionsType = None, 0


def _zero_point(_: Any, graph: Any) -> None:
    graph.tensors[graph.inputs[0]].quantization.zeroPoint = [300]


def _calls_itself(model: Any, graph: Any) -> None:
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = Op.CALL_ONCE, 127, 1
    model.operatorCodes.append(code)
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = len(model.operatorCodes) - 1, [], []
    operator.builtinOptions = schema.CallOnceOptionsT()
    operator.builtinOptionsType = schema.BuiltinOptions.CallOnceOptions
    graph.operators.append(operator)


def _calls_nobody(model: Any, graph: Any) -> None:
    _calls_itself(model, graph)
    graph.operators[-1].builtinOptions.initSubgraphIndex = 7


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_reversed, "before anything writes it"),
        (_written_twice, "which has a value already"),
        (_constant_input, "of the graph is a constant"),
        (_unwritten_output, "nothing writes the output"),
        (_left_out, "its input 0 is left out"),
        (_without_options, "CONV_2D: stride_w is 0"),
        (_zero_point, "zero point outside of -128 to 127"),
        (_calls_itself, "graph 0 calls itself"),
        (_calls_nobody, "graph that an operator calls is number 7 of 1"),
    ],
)
def test_graphs_that_do_not_hang_together(edit: Callable[[Any, Any], None], message: str) -> None:
    with pytest.raises(ModelLoadError, match=message):
        check_flatbuffer(edited(edit))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (one(Op.LESS, None, [((1, 1, 4, 1, 1),), ((2, 3, 4, 2, 2),)], [((), 6)]), "more than 4 dimensions"),
        (one(Op.MUL, options("Mul"), [((1, 1, 4), I32), ((1, 1, 1, 1, 4), I32)], [((), I32)]), "more than 4"),
        (one(Op.DIV, options("Div"), [((4,), I32), ((4,), I32)], [((4,), I32)]), "by what may be 0"),
        (one(Op.BROADCAST_ARGS, None, [((2,), I32), ((2,), I32)], [((2,), I32)]), "BROADCAST_ARGS"),
        (depthwise(0), "depth multiplier is 0"),
        (depthwise(2, inputs=2), "no bias"),
    ],
)  # fmt: skip
def test_sound_files_that_the_legacy_engine_dies_of(body: bytes, message: str) -> None:
    check_flatbuffer(body)
    with pytest.raises(UnsupportedError, match=f"tflite-runtime would not survive it.*{message}"):
        check_flatbuffer(body, legacy=True)


def test_sparse_tensors_are_not_for_the_legacy_engine() -> None:
    def sparse(model: Any, graph: Any) -> None:
        metadata = schema.SparsityParametersT()
        metadata.traversalOrder, metadata.blockMap, metadata.dimMetadata = [0], [], []
        graph.tensors[constant(model, graph)].sparsity = metadata

    check_flatbuffer(edited(sparse))
    with pytest.raises(UnsupportedError, match="sparse"):
        check_flatbuffer(edited(sparse), legacy=True)
