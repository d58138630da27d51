"""The words between the reader's handlers."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import helper

__all__ = ["RefusalError", "attributes_of"]


class RefusalError(Exception):
    """Why a node cannot be taken; collected by the reader, never seen outside it."""


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """Attributes of *node* as Python values."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}
