"""Constants of a float plan as float16, each behind a DEQUANTIZE, as TensorFlow's float16 files have them.

XNNPACK unpacks them when it loads the file and runs no operator for it; the builtin kernels unpack once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from edgecv_converters.half import as_float16
from edgecv_converters.plan import Plan, PlannedOp, PlannedTensor
from edgecv_converters.targets import TargetSpec

__all__ = ["with_float16_constants"]

#: Roles whose numbers are products' operands; a parameter is read by the kernel itself.
_ROLES: Final = ("weight", "bias")


def with_float16_constants(plan: Plan, spec: TargetSpec) -> Plan:
    """*plan* with the constants that can be (:func:`~edgecv_converters.half.as_float16`) in half the bytes.

    The float32 tensor keeps its name and its readers; what is stored is ``<name>:float16``.

    Args:
        plan: Of a model that quantizes nothing.
        spec: The target.
    """
    tensors, unpacked = list(plan.tensors), []
    names = {tensor.name for tensor in tensors}
    for index, tensor in enumerate(plan.tensors):
        half = as_float16(tensor.data) if tensor.data is not None else None
        if half is None or tensor.role not in _ROLES:
            continue
        name = f"{tensor.name}:float16"
        while name in names:
            name += ":2"
        names.add(name)
        stored = PlannedTensor(name, tensor.shape, "float16", tensor.role, None, half)
        tensors[index] = replace(tensor, data=None)
        unpacked.append(
            PlannedOp(
                "DEQUANTIZE",
                spec.operator_versions["DEQUANTIZE"]["float16"],
                (len(tensors),),
                (index,),
                {},
                "float16.with_float16_constants",
                "stored in half the bytes; float32 when the file is loaded",
                (),
            )
        )
        tensors.append(stored)
    return replace(plan, tensors=tuple(tensors), ops=(*unpacked, *plan.ops))
