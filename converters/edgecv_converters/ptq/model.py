"""What the reader needs to know about an ONNX file: constants, shapes, who uses what."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper, shape_inference

from edgecv.errors import ModelLoadError, UnsupportedError
from edgecv_converters import reader

__all__ = ["OnnxFile", "parse"]

Array = npt.NDArray[Any]


class OnnxFile:
    """A checked ONNX classifier with batch 1 and every shape known.

    Attributes:
        graph: The ONNX graph, shapes inferred.
        constants: Name of an initializer or a Constant node's output → value.
        input_name: The picture.
        output_name: The logits.
        input_size: (height, width).
        uses: Tensor name → how many nodes read it.
    """

    def __init__(self, model: onnx.ModelProto | bytes) -> None:
        parsed = parse(model)
        inferred = shape_inference.infer_shapes(parsed, data_prop=True)
        self.graph = inferred.graph
        self.constants = _constants(self.graph)
        self.input_name, self.input_size = self._single_input()
        self.output_name = self._single_output()
        self._shapes = {
            info.name: tuple(d.dim_value for d in info.type.tensor_type.shape.dim)
            for info in (*self.graph.value_info, *self.graph.input, *self.graph.output)
        }
        self.uses: dict[str, int] = {}
        for node in self.graph.node:
            for name in node.input:
                self.uses[name] = self.uses.get(name, 0) + 1

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor or constant; a dimension of 0 is unknown.

        Raises:
            UnsupportedError: Shape inference does not reach it.
        """
        if name in self.constants:
            return tuple(self.constants[name].shape)
        if name not in self._shapes:
            raise UnsupportedError(
                f"the shape of tensor {name!r} is unknown", cure="Export with a static input shape."
            )
        return self._shapes[name]

    def _single_input(self) -> tuple[str, tuple[int, int]]:
        found = [i for i in self.graph.input if i.name not in self.constants]
        if len(found) != 1:
            names = ", ".join(repr(i.name) for i in found)
            raise UnsupportedError(
                f"the model has {len(found)} inputs ({names})", cure="One picture input is known."
            )
        shape = [d.dim_value for d in found[0].type.tensor_type.shape.dim]
        is_float = found[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        if len(shape) != 4 or shape[1] != 3 or min(shape) < 1 or not is_float:
            raise UnsupportedError(
                f"the input {found[0].name!r} has shape {shape} (0: not static)",
                cure="A float32 input [1, 3, H, W] with static height and width is known.",
            )
        return found[0].name, (shape[2], shape[3])

    def _single_output(self) -> str:
        names = [o.name for o in self.graph.output]
        if len(names) != 1:
            raise UnsupportedError(
                f"the model has {len(names)} outputs ({', '.join(map(repr, names))})",
                cure="A classifier with one output, the logits, is known.",
            )
        return str(names[0])


def parse(model: onnx.ModelProto | bytes) -> onnx.ModelProto:
    """A checked copy of *model* with batch 1.

    Raises:
        ModelLoadError: Not an ONNX file, or not a valid one.
        UnsupportedError: Weights in another file, dynamic shapes, or an unknown operator set.
    """
    copied: onnx.ModelProto = reader.parse(
        model.SerializeToString() if isinstance(model, onnx.ModelProto) else model
    )
    if any(i.data_location == onnx.TensorProto.EXTERNAL for i in copied.graph.initializer):
        raise UnsupportedError(
            "the model keeps its weights in another file", cure="Save it as one file."
        )
    try:
        onnx.checker.check_model(copied)
    except onnx.checker.ValidationError as error:
        first_line = str(error).strip().splitlines()[0]
        raise ModelLoadError(
            f"the ONNX file is not valid ({first_line})", cure="Export it again."
        ) from error
    return copied


def _constants(graph: onnx.GraphProto) -> dict[str, Array]:
    found: dict[str, Array] = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                value = helper.get_attribute_value(attribute)
                if isinstance(value, onnx.TensorProto):
                    value = numpy_helper.to_array(value)
                found[node.output[0]] = np.asarray(value)
        elif node.op_type == "Identity" and node.input[0] in found:
            found[node.output[0]] = found[node.input[0]]
    return found
