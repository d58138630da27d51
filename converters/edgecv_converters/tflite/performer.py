"""Writes a plan as a TFLite flatbuffer. The same plan gives the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import flatbuffers
import numpy as np
import tflite

from edgecv.errors import UnsupportedError
from edgecv_converters.ir import Array
from edgecv_converters.plan import Plan, PlannedOp, PlannedTensor

__all__ = ["perform"]

_SCHEMA_VERSION: Final = 3
_IDENTIFIER: Final = b"TFL3"
#: Buffers are mapped and read in place; schema.fbs demands this alignment.
_BUFFER_ALIGNMENT: Final = 16
_MAX_BYTES: Final = 2**31 - 1
#: Highest operator code that fits the old one-byte field (schema.fbs, PLACEHOLDER_FOR_GREATER_OP_CODES).
_OLD_CODE_LIMIT: Final = 127

_OPTIONS: Final = {
    "ADD": "AddOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "BATCH_MATMUL": "BatchMatMulOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DEQUANTIZE": "DequantizeOptions",
    "DIV": "DivOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "GELU": "GeluOptions",
    "HARD_SWISH": "HardSwishOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "MUL": "MulOptions",
    "PAD": "PadOptions",
    "PADV2": "PadV2Options",
    "QUANTIZE": "QuantizeOptions",
    "REDUCE_MAX": "ReducerOptions",
    "SLICE": "SliceOptions",
    "SOFTMAX": "SoftmaxOptions",
    "SUB": "SubOptions",
    "TRANSPOSE": "TransposeOptions",
}
_ENUMERATIONS: Final = {"Padding": "Padding", "FusedActivationFunction": "ActivationFunctionType"}


def perform(plan: Plan, metadata: Mapping[str, bytes] | None = None) -> bytes:
    """Write *plan*.

    Args:
        plan: Of target ``tflite``.
        metadata: Name → content of metadata buffers, e.g. ``TFLITE_METADATA``.

    Returns:
        The flatbuffer.

    Raises:
        UnsupportedError: The file would exceed what flatbuffers can address.
    """
    entries = dict(metadata or {})
    size = sum(t.data.nbytes for t in plan.tensors if t.data is not None) + sum(
        map(len, entries.values())
    )
    if size > _MAX_BYTES - 2**24:
        raise UnsupportedError(
            f"the constants have {size} bytes", cure="TFLite files end at 2 GiB."
        )
    builder = flatbuffers.Builder(size + 4096)
    # buffer 0 is empty by convention: tensors without data point at it
    contents: list[bytes | Array] = [b""]
    buffer_of = {}
    for index, tensor in enumerate(plan.tensors):
        if tensor.data is not None:
            buffer_of[index] = len(contents)
            contents.append(tensor.data)
    entry_of = {name: len(contents) + i for i, name in enumerate(entries)}
    contents.extend(entries.values())
    codes = _operator_codes(plan)
    buffers = _offsets(builder, [_buffer(builder, content) for content in contents])
    subgraph = _subgraph(builder, plan, codes, buffer_of)
    subgraphs = _offsets(builder, [subgraph])
    code_table = _offsets(builder, [_code(builder, op, version) for op, version in codes])
    entry_table = _offsets(builder, [_entry(builder, name, entry_of[name]) for name in entries])
    description = builder.CreateString("edgecv")
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, _SCHEMA_VERSION)
    tflite.ModelAddOperatorCodes(builder, code_table)
    tflite.ModelAddSubgraphs(builder, subgraphs)
    tflite.ModelAddDescription(builder, description)
    tflite.ModelAddBuffers(builder, buffers)
    if entries:
        tflite.ModelAddMetadata(builder, entry_table)
    builder.Finish(tflite.ModelEnd(builder), _IDENTIFIER)
    return bytes(builder.Output())


def _operator_codes(plan: Plan) -> dict[tuple[str, int], int]:
    """(operator, version) → index, in order of first use."""
    codes: dict[tuple[str, int], int] = {}
    for op in plan.ops:
        codes.setdefault((op.op, op.version), len(codes))
    return codes


def _offsets(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _numbers(builder: Any, values: Array) -> int:
    return int(builder.CreateNumpyVector(np.ascontiguousarray(values)))


def _buffer(builder: Any, content: bytes | Array) -> int:
    data = 0
    size = content.nbytes if isinstance(content, np.ndarray) else len(content)
    if size:
        # arranged here, one buffer at a time: the plan holds views of the source's arrays
        raw = (
            np.ascontiguousarray(content).tobytes() if isinstance(content, np.ndarray) else content
        )
        builder.StartVector(1, size, _BUFFER_ALIGNMENT)
        builder.head -= size
        builder.Bytes[builder.head : builder.head + size] = raw
        data = builder.EndVector()
    tflite.BufferStart(builder)
    if data:
        tflite.BufferAddData(builder, data)
    return int(tflite.BufferEnd(builder))


def _code(builder: Any, op: str, version: int) -> int:
    code = getattr(tflite.BuiltinOperator, op)
    tflite.OperatorCodeStart(builder)
    tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, min(code, _OLD_CODE_LIMIT))
    tflite.OperatorCodeAddVersion(builder, version)
    tflite.OperatorCodeAddBuiltinCode(builder, code)
    return int(tflite.OperatorCodeEnd(builder))


def _entry(builder: Any, name: str, buffer: int) -> int:
    text = builder.CreateString(name)
    tflite.MetadataStart(builder)
    tflite.MetadataAddName(builder, text)
    tflite.MetadataAddBuffer(builder, buffer)
    return int(tflite.MetadataEnd(builder))


def _subgraph(
    builder: Any, plan: Plan, codes: Mapping[tuple[str, int], int], buffer_of: Mapping[int, int]
) -> int:
    tensors = _offsets(
        builder, [_tensor(builder, t, buffer_of.get(i, 0)) for i, t in enumerate(plan.tensors)]
    )
    operators = _offsets(
        builder, [_operator(builder, op, codes[op.op, op.version]) for op in plan.ops]
    )
    inputs = _numbers(builder, np.asarray(plan.inputs, np.int32))
    outputs = _numbers(builder, np.asarray(plan.outputs, np.int32))
    name = builder.CreateString("main")
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, tensors)
    tflite.SubGraphAddInputs(builder, inputs)
    tflite.SubGraphAddOutputs(builder, outputs)
    tflite.SubGraphAddOperators(builder, operators)
    tflite.SubGraphAddName(builder, name)
    return int(tflite.SubGraphEnd(builder))


def _tensor(builder: Any, tensor: PlannedTensor, buffer: int) -> int:
    name = builder.CreateString(tensor.name)
    shape = _numbers(builder, np.asarray(tensor.shape, np.int32))
    quantization = 0
    if tensor.quantization is not None:
        scales = _numbers(builder, np.asarray(tensor.quantization.scales, np.float32))
        zeros = _numbers(builder, np.asarray(tensor.quantization.zero_points, np.int64))
        tflite.QuantizationParametersStart(builder)
        tflite.QuantizationParametersAddScale(builder, scales)
        tflite.QuantizationParametersAddZeroPoint(builder, zeros)
        tflite.QuantizationParametersAddQuantizedDimension(builder, tensor.quantization.axis)
        quantization = tflite.QuantizationParametersEnd(builder)
    tflite.TensorStart(builder)
    tflite.TensorAddShape(builder, shape)
    tflite.TensorAddType(builder, getattr(tflite.TensorType, tensor.dtype.upper()))
    tflite.TensorAddBuffer(builder, buffer)
    tflite.TensorAddName(builder, name)
    if quantization:
        tflite.TensorAddQuantization(builder, quantization)
    return int(tflite.TensorEnd(builder))


def _operator(builder: Any, op: PlannedOp, code: int) -> int:
    inputs = _numbers(builder, np.asarray(op.inputs, np.int32))
    outputs = _numbers(builder, np.asarray(op.outputs, np.int32))
    kind = _OPTIONS.get(op.op)
    options = _options(builder, kind, op.options) if kind else 0
    tflite.OperatorStart(builder)
    tflite.OperatorAddOpcodeIndex(builder, code)
    tflite.OperatorAddInputs(builder, inputs)
    tflite.OperatorAddOutputs(builder, outputs)
    if kind:
        tflite.OperatorAddBuiltinOptionsType(builder, getattr(tflite.BuiltinOptions, kind))
        tflite.OperatorAddBuiltinOptions(builder, options)
    return int(tflite.OperatorEnd(builder))


def _options(builder: Any, kind: str, options: Mapping[str, int | float | bool | str]) -> int:
    getattr(tflite, f"{kind}Start")(builder)
    for field, value in options.items():
        stored = (
            getattr(getattr(tflite, _ENUMERATIONS[field]), value)
            if isinstance(value, str)
            else value
        )
        getattr(tflite, f"{kind}Add{field}")(builder, stored)
    return int(getattr(tflite, f"{kind}End")(builder))
