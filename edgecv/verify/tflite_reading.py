"""The first subgraph of a TFLite file: tensors by name, and which operator reads what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from edgecv.artifact.flatbuffer import check_flatbuffer
from edgecv.errors import ModelLoadError, require
from edgecv.verify.source import Array

__all__ = ["FileModel", "FileOperator", "FileTensor", "read_tflite"]

#: Types whose elements are compared; constants of others count as absent.
_DTYPES = ("float16", "float32", "int8", "uint8", "int16", "int32", "int64")

#: Tables of options that name an activation.
_CLAMPING = {
    "AddOptions", "ConcatenationOptions", "Conv2DOptions", "DepthwiseConv2DOptions", "DivOptions",
    "FullyConnectedOptions", "MulOptions", "Pool2DOptions", "SubOptions",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class FileTensor:
    """One tensor as it lies in the file.

    Attributes:
        name: Its name.
        dtype: NumPy name.
        scales: float32, empty for a float tensor.
        zero_points: int64, as many.
        axis: Channel dimension.
        data: Elements of a constant, or None.
    """

    name: str
    dtype: str
    scales: Array
    zero_points: Array
    axis: int
    data: Array | None


@dataclass(frozen=True)
class FileOperator:
    """One operator.

    Attributes:
        op: Name in the schema.
        inputs: Tensor names, "" where one is left out.
        outputs: Tensor names.
        clamp: Activation that runs inside it: ``"NONE"``, ``"RELU"``, …
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    clamp: str = "NONE"


@dataclass(frozen=True, eq=False)
class FileModel:
    """The file.

    Attributes:
        tensors: By name.
        operators: In execution order.
    """

    tensors: Mapping[str, FileTensor]
    operators: tuple[FileOperator, ...]

    @cached_property
    def readers(self) -> Mapping[str, tuple[FileOperator, int]]:
        """Tensor name → the operator that reads it first, and as which input."""
        found: dict[str, tuple[FileOperator, int]] = {}
        for operator in self.operators:
            for position, name in enumerate(operator.inputs):
                found.setdefault(name, (operator, position))
        return found

    def unpacked(self) -> FileModel:
        """The same file as if its float16 constants were what the DEQUANTIZE behind each makes of them.

        Such a tensor is float32 with float16 elements.
        """
        tensors, operators = dict(self.tensors), []
        for operator in self.operators:
            stored = self.tensors.get(operator.inputs[0]) if operator.inputs else None
            half = stored is not None and stored.data is not None and stored.dtype == "float16"
            if stored is None or not half or operator.op != "DEQUANTIZE":
                operators.append(operator)
                continue
            name = operator.outputs[0]
            tensors[name] = replace(tensors[name], data=stored.data)
            tensors.pop(stored.name, None)
        return FileModel(tensors, tuple(operators))


def read_tflite(data: bytes) -> FileModel:
    """Read a file; a zip tail behind the flatbuffer does not matter.

    Raises:
        ModelLoadError: The flatbuffer is damaged, or two tensors have one name.
        MissingExtraError: The TFLite schema is not installed.
    """
    require("tflite", "flatbuffers", extra="convert")
    import tflite

    # after this no offset leads outside: the generated readers below check nothing
    check_flatbuffer(data)
    return _read(tflite, data)


def _read(tflite: Any, data: bytes) -> FileModel:
    model = tflite.Model.GetRootAs(data, 0)
    graph = model.Subgraphs(0)
    tensors = [
        _tensor(model, graph.Tensors(i), _names(tflite.TensorType))
        for i in range(graph.TensorsLength())
    ]
    by_name = {tensor.name: tensor for tensor in tensors}
    if len(by_name) != len(tensors):
        names = [t.name for t in tensors]
        twice = next(n for n in names if names.count(n) > 1)
        raise ModelLoadError(
            f"two tensors of the TFLite file are called {twice!r}", cure="Convert the model again."
        )
    names = [t.name for t in tensors]
    operators = [
        _operator(tflite, model, graph.Operators(i), names) for i in range(graph.OperatorsLength())
    ]
    _check_order(operators)
    return FileModel(by_name, tuple(operators))


def _check_order(operators: list[FileOperator]) -> None:
    """Refuse operators without results and rings: whoever follows the graph must come to an end."""
    left = {name for operator in operators for name in operator.outputs}
    for operator in operators:
        if not operator.outputs or left.intersection(operator.inputs):
            raise ModelLoadError(
                f"an operator {operator.op} of the TFLite file has no result, or reads one that is not"
                " computed before it",
                cure="Convert the model again.",
            )
        left.difference_update(operator.outputs)


def _names(enumeration: type) -> dict[int, str]:
    return {code: name for name, code in vars(enumeration).items() if not name.startswith("_")}


def _operator(tflite: Any, model: Any, op: Any, names: list[str]) -> FileOperator:
    codes = _names(tflite.BuiltinOperator)
    code = model.OperatorCodes(op.OpcodeIndex())
    # codes up to 127 may stand in the old field alone (schema.fbs, OperatorCode)
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    inputs = [op.Inputs(j) for j in range(op.InputsLength())]
    outputs = [op.Outputs(j) for j in range(op.OutputsLength())]
    return FileOperator(
        codes.get(number, str(number)),
        tuple(names[i] if i >= 0 else "" for i in inputs),
        tuple(names[i] for i in outputs),
        _clamp(tflite, op),
    )


def _clamp(tflite: Any, op: Any) -> str:
    """Activation inside an operator, by its options."""
    kind = _names(tflite.BuiltinOptions).get(op.BuiltinOptionsType(), "")
    said = op.BuiltinOptions()
    if kind not in _CLAMPING or said is None:
        return "NONE"
    options = getattr(tflite, kind)()
    options.Init(said.Bytes, said.Pos)
    code = options.FusedActivationFunction()
    return _names(tflite.ActivationFunctionType).get(code, str(code))


def _tensor(model: Any, tensor: Any, types: Mapping[int, str]) -> FileTensor:
    name = (tensor.Name() or b"").decode("utf-8", "replace")
    dtype = types.get(tensor.Type(), "unknown").lower()
    shape = tuple(tensor.Shape(j) for j in range(tensor.ShapeLength()))
    buffer = model.Buffers(tensor.Buffer())
    elements = None
    if buffer.DataLength() and dtype in _DTYPES and tensor.Sparsity() is None:
        elements = np.frombuffer(buffer.DataAsNumpy().tobytes(), dtype).reshape(shape)
    scales, zeros, axis = _quantization(tensor.Quantization())
    return FileTensor(name, dtype, scales, zeros, axis, elements)


def _quantization(said: Any) -> tuple[Array, Array, int]:
    if said is None or not said.ScaleLength():
        return np.zeros(0, np.float32), np.zeros(0, np.int64), 0
    zeros = (
        said.ZeroPointAsNumpy()
        if said.ZeroPointLength()
        else np.zeros(said.ScaleLength(), np.int64)
    )
    return said.ScaleAsNumpy(), zeros, int(said.QuantizedDimension())
