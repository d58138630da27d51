"""LiteRT as verification needs it: both kernel sets, and what the delegate took of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np

from edgecv.spec import QuantParams, TensorSpec
from edgecv.verify.source import Array
from edgecv_runtimes.base import engine_failed, load_failed
from edgecv_runtimes.quiet import import_litert

__all__ = ["KERNELS", "Delegation", "Interpreter", "Outside", "Product"]

#: Kernel sets: with the default delegate (XNNPACK), and without.
KERNELS = ("xnnpack", "builtin")
#: What the interpreter raises.
_ERRORS = (ValueError, RuntimeError, MemoryError, TypeError)


class Outside(NamedTuple):
    """An operator that the delegate left to the builtin kernels.

    Attributes:
        operator: Its name in the schema.
        tensor: What it writes.
    """

    operator: str
    tensor: str


class Product(NamedTuple):
    """An operator that multiplies and accumulates.

    Attributes:
        operator: Its name in the schema.
        tensor: What it writes.
        macs: Multiply-accumulates.
        integer: Whether it reads and writes int8.
    """

    operator: str
    tensor: str
    macs: int
    integer: bool


@dataclass(frozen=True)
class Delegation:
    """Operators of a file and what the delegate took of them, counted in a loaded interpreter.

    Attributes:
        operators: How many the file has.
        partitions: Pieces that run in the delegate.
        outside: Operators in none of them, in order.
        products: Convolutions, linear layers and matrix products, in order.
    """

    operators: int
    partitions: int
    outside: tuple[Outside, ...]
    products: tuple[Product, ...]


class Interpreter:
    """One TFLite file in LiteRT, one thread.

    Args:
        tflite: The file.
        kernels: One of :data:`KERNELS`.

    Attributes:
        inputs: In the file's order. Tensors of four dimensions are NHWC, as the converter writes them.
        outputs: Likewise.

    Raises:
        MissingExtraError: LiteRT is not installed.
        ModelLoadError: LiteRT refuses the file.
    """

    def __init__(self, tflite: bytes, kernels: str = "xnnpack") -> None:
        litert = import_litert()
        resolvers = litert.OpResolverType
        resolver = (
            resolvers.AUTO if kernels == "xnnpack" else resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        )
        try:
            self._engine: Any = litert.Interpreter(
                model_content=tflite, num_threads=1, experimental_op_resolver_type=resolver
            )
            self._engine.allocate_tensors()
        except _ERRORS as error:
            raise load_failed("LiteRT", error) from error
        inputs, outputs = self._engine.get_input_details(), self._engine.get_output_details()
        self.inputs: tuple[TensorSpec, ...] = tuple(map(_spec, inputs))
        self.outputs: tuple[TensorSpec, ...] = tuple(map(_spec, outputs))
        self._inputs = [detail["index"] for detail in inputs]
        self._outputs = [detail["index"] for detail in outputs]

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        """Outputs in the file's order, owned by the caller.

        Args:
            arrays: One per input, in the file's order.

        Raises:
            ModelLoadError: LiteRT fails.
        """
        try:
            for index, array in zip(self._inputs, arrays, strict=True):
                self._engine.set_tensor(index, np.ascontiguousarray(array))
            self._engine.invoke()
            return [self._engine.get_tensor(index) for index in self._outputs]
        except _ERRORS as error:
            raise engine_failed("LiteRT", error) from error

    def delegation(self) -> Delegation:
        """Count what runs where; the inputs are whatever they last were.

        An operator is outside when no partition writes its result and that can still be read.
        """
        try:
            self._engine.invoke()
        except _ERRORS as error:
            raise engine_failed("LiteRT", error) from error
        every = self._engine._get_ops_details()
        tensors = {detail["index"]: detail for detail in self._engine.get_tensor_details()}
        partitions = [op for op in every if op["op_name"] == "DELEGATE"]
        ops = [op for op in every if op["op_name"] != "DELEGATE"]
        written = {index for op in partitions for index in op["outputs"]}
        outside = [
            Outside(op["op_name"], str(tensors[op["outputs"][0]]["name"]))
            for op in ops
            if op["outputs"][0] not in written and self._can_read(op["outputs"][0])
        ]
        products = [found for op in ops if (found := _product(op, tensors)) is not None]
        return Delegation(len(ops), len(partitions), tuple(outside), tuple(products))

    def _can_read(self, index: int) -> bool:
        try:
            self._engine.get_tensor(index)
        except ValueError:
            return False
        return True


def _spec(detail: dict[str, Any]) -> TensorSpec:
    shape = tuple(int(size) for size in detail["shape"])
    scale, zero_point = detail["quantization"]
    dtype = np.dtype(detail["dtype"]).name
    # (0, 0) stands for a tensor without parameters
    params = QuantParams(float(np.float32(scale)), int(zero_point), dtype) if scale else None
    return TensorSpec(str(detail["name"]), shape, dtype, "NHWC" if len(shape) == 4 else "", params)


def _product(op: dict[str, Any], tensors: dict[int, dict[str, Any]]) -> Product | None:
    """An operator's multiply-accumulates, from the shapes of its tensors; None where it has none."""
    if op["op_name"] not in (
        *("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"),
        *("FULLY_CONNECTED", "BATCH_MATMUL"),
    ):
        return None
    result = tensors[op["outputs"][0]]
    shapes = [tuple(map(int, tensors[index]["shape"])) for index in op["inputs"] if index >= 0]
    outputs = tuple(map(int, result["shape"]))
    size = prod(outputs)
    if op["op_name"] == "BATCH_MATMUL":
        # [..., M, K] x [..., K, N], either operand perhaps transposed
        macs = outputs[-1] * prod(shapes[0])
    elif op["op_name"] == "TRANSPOSE_CONV":
        # operands: shape, weight [O, h, w, I], activation
        macs = prod(shapes[2]) * prod(shapes[1][:3])
    elif op["op_name"] == "DEPTHWISE_CONV_2D":
        macs = size * prod(shapes[1][1:3])
    else:
        macs = size * prod(shapes[1][1:])
    activation = tensors[op["inputs"][2 if op["op_name"] == "TRANSPOSE_CONV" else 0]]
    integer = all(np.dtype(t["dtype"]) == np.int8 for t in (activation, result))
    return Product(op["op_name"], str(result["name"]), macs, integer)
