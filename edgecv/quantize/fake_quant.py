"""Fake quantization as autograd functions: the spec's arithmetic on torch tensors, bit for bit.

Four vectorized in-place operations forward and one ``hardtanh_backward`` behind; torch's own
``fake_quantize_*`` CPU kernels are scalar and take about twice the time of a ResNet-18 step's
quantizers. The gradient passes where the value lies inside the grid and is zero outside
(straight-through estimator).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from edgecv.spec import activation_range, integer_range
from edgecv.spec.arithmetic import MIN_SCALE, MIN_WEIGHT_SCALE

__all__ = [
    "cut_gradient",
    "device_params",
    "device_weight_scales",
    "fake_quantize",
    "fake_quantize_on_device",
    "fake_quantize_weight",
]

#: True inside :func:`cut_gradient`.
_gradient_is_cut = False


@contextlib.contextmanager
def cut_gradient() -> Iterator[None]:
    """Let every fake quantizer pass a gradient of zero; for tests that must fail without learning."""
    global _gradient_is_cut
    before = _gradient_is_cut
    _gradient_is_cut = True
    try:
        yield
    finally:
        _gradient_is_cut = before


class _HostFakeQuantize(torch.autograd.Function):
    """Parameters known to Python; *scale* is also a tensor, because CUDA divides by a Python number
    by multiplying with its reciprocal, which rounds differently."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor, scale_value: float, low: int, high: int
    ) -> Tensor:
        """Round to the grid; *low* and *high* are its ends relative to the zero point."""
        ctx.bounds = (low - 0.5) * scale_value, (high + 0.5) * scale_value
        ctx.save_for_backward(x)
        return torch.div(x, scale).round_().clamp_(low, high).mul_(scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Gradient where the value is inside the grid."""
        if _gradient_is_cut:
            return torch.zeros_like(gradient), None, None, None, None
        (x,) = ctx.saved_tensors
        passed = torch.ops.aten.hardtanh_backward(gradient, x, *ctx.bounds)
        return passed, None, None, None, None


class _DeviceFakeQuantize(torch.autograd.Function):
    """Parameters known only to the device, so that tracking a range never waits for it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """As the host's, with 0-d tensors for the ends."""
        ctx.save_for_backward(x, scale, low, high)
        return torch.div(x, scale).round_().clamp_(low, high).mul_(scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Gradient where the value is inside the grid."""
        if _gradient_is_cut:
            return torch.zeros_like(gradient), None, None, None
        x, scale, low, high = ctx.saved_tensors
        inside = (x > (low - 0.5) * scale) & (x < (high + 0.5) * scale)
        return gradient * inside, None, None, None


class _WeightFakeQuantize(torch.autograd.Function):
    """Symmetric per channel; scales come from the weights themselves, so nothing is ever clipped."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, scales: Tensor) -> Tensor:
        """Round to the grid of each channel."""
        return torch.div(weight, scales).round_().mul_(scales)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient, unchanged."""
        return (torch.zeros_like(gradient) if _gradient_is_cut else gradient), None


def fake_quantize(x: Tensor, scale: float, zero_point: int, limits: tuple[int, int]) -> Tensor:
    """Quantize and dequantize *x* with parameters known to Python.

    Args:
        x: Any shape, float32.
        scale: A float32 value.
        zero_point: In int8 terms.
        limits: Smallest and largest integer of the grid.
    """
    on_device = torch.full((), scale, device=x.device)
    low, high = limits[0] - zero_point, limits[1] - zero_point
    return _apply(_HostFakeQuantize, x, on_device, scale, low, high)


def fake_quantize_on_device(
    x: Tensor, scale: Tensor, zero_point: Tensor, limits: tuple[int, int]
) -> Tensor:
    """The same with 0-d float32 tensors that may not be read from Python."""
    return _apply(_DeviceFakeQuantize, x, scale, limits[0] - zero_point, limits[1] - zero_point)


def fake_quantize_weight(weight: Tensor, *, bits: int) -> Tensor:
    """Quantize and dequantize a weight [C, ...] per output channel."""
    scales = device_weight_scales(weight, bits=bits)
    return _apply(_WeightFakeQuantize, weight, scales.view(-1, *[1] * (weight.dim() - 1)))


def device_weight_scales(weight: Tensor, *, bits: int) -> Tensor:
    """:func:`edgecv.spec.weight_scales` on the weight's own device, float32 [C]."""
    with torch.no_grad():
        low, high = weight.detach().flatten(1).aminmax(dim=1)
        peaks = torch.maximum(-low, high)
        # a tensor and not a number: see _HostFakeQuantize
        limit = torch.full((), float(integer_range(bits)[1]), device=weight.device)
        return torch.div(peaks, limit).clamp_min_(MIN_WEIGHT_SCALE)


def device_params(
    minimum: Tensor, maximum: Tensor, *, bits: int, symmetric: bool
) -> tuple[Tensor, Tensor]:
    """:func:`edgecv.spec.activation_params` on the device: scale and zero point, 0-d float32."""
    with torch.no_grad():
        low = minimum.double().clamp(max=0.0)
        high = maximum.double().clamp(min=0.0)
        if symmetric:
            limit = torch.full_like(high, integer_range(bits)[1])
            scale = torch.div(torch.maximum(-low, high), limit).clamp_min(MIN_SCALE).float()
            return scale, torch.zeros_like(scale)
        first, last = activation_range(bits)
        steps = torch.full_like(high, last - first)
        scale = torch.div(high - low, steps).clamp_min(MIN_SCALE).float()
        zero_point = (-128 - low / scale.double()).round().clamp(first, last)
        return scale, zero_point.float()


def _apply(function: type[torch.autograd.Function], *args: Any) -> Tensor:
    result = function.apply(*args)  # type: ignore[no-untyped-call]
    assert isinstance(result, Tensor)
    return result
