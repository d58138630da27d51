"""Sliding windows: ONNX pads, strides and dilations against TFLite's SAME and VALID."""

from __future__ import annotations

from dataclasses import dataclass

from edgecv_converters.ir import Graph, Node

__all__ = ["Window", "window_complaint", "window_of"]


@dataclass(frozen=True)
class Window:
    """A two-dimensional sliding window over an image of known size.

    Attributes:
        kernel: (height, width).
        strides: Likewise.
        dilations: Likewise.
        pads: (top, left, bottom, right), as ONNX orders them; with ceil_mode the part that the last
            window reaches beyond the padded image is added at the end.
        image: Input (height, width).
        overhang: Whether ceil_mode added anything.
    """

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]
    image: tuple[int, int]
    overhang: bool = False

    @property
    def output(self) -> tuple[int, int]:
        """Output (height, width)."""
        return self._output(0), self._output(1)

    def _output(self, axis: int) -> int:
        padded = self.image[axis] + self.pads[axis] + self.pads[axis + 2]
        return (padded - self._reach(axis)) // self.strides[axis] + 1

    def _reach(self, axis: int) -> int:
        return self.dilations[axis] * (self.kernel[axis] - 1) + 1

    @property
    def padding(self) -> str:
        """``"VALID"``, ``"SAME"`` (TFLite pads by itself exactly as ONNX says) or ``"explicit"``."""
        if not any(self.pads):
            return "VALID"
        return "SAME" if self.pads == self._same_pads() else "explicit"

    def _same_pads(self) -> tuple[int, ...]:
        """TFLite padding.h, ComputePaddingWithOffset: the odd pixel goes to the end."""
        begin, end = [], []
        for axis in (0, 1):
            wanted = -(-self.image[axis] // self.strides[axis])
            total = max((wanted - 1) * self.strides[axis] + self._reach(axis) - self.image[axis], 0)
            begin.append(total // 2)
            end.append(total - total // 2)
        return (*begin, *end)

    def paddings(self) -> list[list[int]]:
        """Operand of PAD for an NHWC image."""
        top, left, bottom, right = self.pads
        return [[0, 0], [top, bottom], [left, right], [0, 0]]

    def padded(self) -> tuple[int, int]:
        """Image (height, width) after explicit padding."""
        top, left, bottom, right = self.pads
        return self.image[0] + top + bottom, self.image[1] + left + right


def window_complaint(graph: Graph, node: Node) -> str | None:
    """Why *node*'s window is not two-dimensional with sane attributes, or None."""
    shape = graph.shape(node.inputs[0])
    if len(shape) != 4:
        return f"the input must have 4 dimensions (NCHW), got {len(shape)}"
    for name, count, least in (
        ("kernel_shape", 2, 1),
        ("strides", 2, 1),
        ("dilations", 2, 1),
        ("pads", 4, 0),
    ):
        values = node.ints(name, (1,) * count)
        if len(values) != count or any(v < least for v in values):
            return f"{name} must be {count} numbers of at least {least}, got {list(values)}"
    auto = node.attributes.get("auto_pad", "NOTSET")
    if auto not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        return f"auto_pad must be NOTSET, VALID, SAME_UPPER or SAME_LOWER, got {auto}"
    return None


def window_of(graph: Graph, node: Node, kernel: tuple[int, int]) -> Window:
    """The window of a node that :func:`window_complaint` does not complain about.

    Args:
        graph: For the image's size.
        node: Convolution or pool.
        kernel: (height, width); of the weight for a convolution.
    """
    _, _, height, width = graph.shape(node.inputs[0])
    strides, dilations = node.ints("strides", (1, 1)), node.ints("dilations", (1, 1))
    pads = node.ints("pads", (0, 0, 0, 0))
    auto = node.attributes.get("auto_pad", "NOTSET")
    plain = Window(
        kernel,
        (strides[0], strides[1]),
        (dilations[0], dilations[1]),
        (0, 0, 0, 0),
        (height, width),
    )
    if auto == "VALID":
        pads = (0, 0, 0, 0)
    elif auto.startswith("SAME"):
        upper = plain._same_pads()
        pads = upper if auto == "SAME_UPPER" else (*upper[2:], *upper[:2])
    window = Window(
        kernel, plain.strides, plain.dilations, (pads[0], pads[1], pads[2], pads[3]), plain.image
    )
    return _with_overhang(window) if node.attributes.get("ceil_mode") else window


def _with_overhang(window: Window) -> Window:
    """ceil_mode: one more window per axis, if it starts inside the image or the padding before it."""
    pads = list(window.pads)
    for axis in (0, 1):
        count = window.output[axis]
        covered = (count - 1) * window.strides[axis] + window._reach(axis)
        padded = window.image[axis] + pads[axis] + pads[axis + 2]
        starts_inside = count * window.strides[axis] < window.image[axis] + pads[axis]
        if covered < padded and starts_inside:
            pads[axis + 2] += covered + window.strides[axis] - padded
    fixed = (pads[0], pads[1], pads[2], pads[3])
    return Window(
        window.kernel,
        window.strides,
        window.dilations,
        fixed,
        window.image,
        overhang=fixed != window.pads,
    )
