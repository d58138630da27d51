"""What quantizers a QDQ file has: read back from the file itself, ours or a stranger's."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from edgecv.artifact.manifest import QuantizerRecord
from edgecv.errors import UnsupportedError
from edgecv.spec import QuantParams
from edgecv_converters.ptq.model import parse

__all__ = ["quantizers_of_qdq"]


def quantizers_of_qdq(model: onnx.ModelProto | bytes) -> tuple[QuantizerRecord, ...]:
    """Activation quantizers of a QDQ file, in graph order.

    A quantizer is named after the tensor that QuantizeLinear reads, without a trailing ``/float``.
    Tensors that share the initializers of their scale share one quantizer, named after the first.

    Raises:
        ModelLoadError: Not a valid ONNX file.
        UnsupportedError: A quantizer whose scale is computed or per channel, or that is not 8 bits.
    """
    graph = parse(model).graph
    constants = {i.name: i for i in graph.initializer}
    found: dict[str, QuantizerRecord] = {}
    for node in graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0] in constants:
            continue
        scale_name = node.input[1]
        if scale_name in found:
            continue
        name = node.input[0].removesuffix("/float")
        values = [numpy_helper.to_array(constants[i]) for i in node.input[1:] if i in constants]
        if len(values) != len(node.input) - 1 or any(v.size != 1 for v in values):
            raise UnsupportedError(
                f"the scale of {name!r} is computed or per channel",
                cure="Activations are quantized per tensor, with constant parameters.",
            )
        zero = values[1].reshape(()) if len(values) > 1 else np.uint8(0)
        if str(zero.dtype) not in ("int8", "uint8"):
            raise UnsupportedError(
                f"the tensor {name!r} is quantized to {zero.dtype}", cure="8 bits are known."
            )
        params = QuantParams(float(values[0].reshape(())), int(zero), str(zero.dtype))
        stored = params.as_dtype("int8")
        found[scale_name] = QuantizerRecord(name, stored.scale, stored.zero_point)
    return tuple(found.values())
