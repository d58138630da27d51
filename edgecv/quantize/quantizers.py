"""Fake quantizers as modules: ranges in buffers, everything that decides the next step in the state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from edgecv.errors import InputError
from edgecv.quantize.batch_norm import FreezableBatchNorm2d
from edgecv.quantize.fake_quant import (
    device_params,
    fake_quantize,
    fake_quantize_on_device,
    fake_quantize_weight,
)
from edgecv.quantize.naming import quantizer_key
from edgecv.spec import Quantizer, QuantParams, activation_params, activation_range

__all__ = ["ActivationQuantizer", "Quantizers", "WeightQuantizer"]

#: Weight of a new batch in the moving average of the range.
MOMENTUM = 0.01


class ActivationQuantizer(nn.Module):
    """Fake quantizer of one tensor.

    Its range is taken over a whole calibration set (global minimum and maximum), then followed by a
    moving average while training, then frozen. A forward in evaluation mode never changes it,
    except inside :meth:`Quantizers.calibrating`.

    Where several tensors share it (the inputs of a concatenation), each has a range of its own, and
    the grid covers all of them: one moving average over tensors in turn would cut off the widest.

    Attributes:
        minimum: float32 buffer [tensors].
        maximum: float32 buffer [tensors].
        seen: bool buffer [tensors]: that range holds something. A Python flag here, lost on resume,
            once put scales off by 27 %.
        frozen: bool buffer.
    """

    minimum: Tensor
    maximum: Tensor
    seen: Tensor
    frozen: Tensor

    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__()
        self.quantizer = quantizer
        self.limits: tuple[int, int] = activation_range(
            quantizer.bits, symmetric=quantizer.symmetric
        )
        self.enabled: bool = True
        self.calibrating = False
        sources = max(len(quantizer.tensors), 1)
        self._has_range = [quantizer.fixed is not None] * sources
        self._is_frozen = quantizer.fixed is not None
        #: Parameters that Python knows; None while a range is being tracked.
        self._known: QuantParams | None = quantizer.fixed
        if quantizer.fixed is None:
            self.register_buffer("minimum", torch.zeros(sources))
            self.register_buffer("maximum", torch.zeros(sources))
            self.register_buffer("seen", torch.zeros(sources, dtype=torch.bool))
            self.register_buffer("frozen", torch.zeros((), dtype=torch.bool))

    def forward(self, x: Tensor, observe: bool = True, source: int = 0) -> Tensor:
        """Fake-quantize *x*.

        Args:
            x: Values of any shape.
            observe: False never widens the range (a reused quantizer).
            source: Which of the tensors that share the quantizer *x* is.
        """
        if observe and self.quantizer.fixed is None:
            if self.calibrating:
                self._widen(x, source)
            elif self.training and not self._is_frozen:
                self._track(x, source)
        if not self.enabled:
            return x
        x = x.float()  # bfloat16 and float16 cannot hold the grid
        known = self._params_on_host(x.device)
        if known is not None:
            return fake_quantize(x, known.scale, known.zero_point, self.limits)
        bits, symmetric = self.quantizer.bits, self.quantizer.symmetric
        low, high = self.minimum.amin(), self.maximum.amax()
        scale, zero = device_params(low, high, bits=bits, symmetric=symmetric)
        return fake_quantize_on_device(x, scale, zero, self.limits)

    def params(self) -> QuantParams:
        """Scale and zero point now, by the spec's own arithmetic.

        Raises:
            InputError: It was never calibrated, or its range is not finite.
        """
        if self.quantizer.fixed is not None:
            return self.quantizer.fixed
        if not all(self._has_range):
            raise InputError(
                f"the quantizer {self.quantizer.name!r} has no range yet",
                cure="Call edgecv.quantize.calibrate(model, batches) first.",
            )
        low, high = float(self.minimum.amin()), float(self.maximum.amax())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise InputError(
                f"the tensor {self.quantizer.name!r} holds values from {low} to {high}",
                cure="The model or its pictures give NaN or infinity; lower the learning rate.",
            )
        return activation_params(
            low,
            high,
            bits=self.quantizer.bits,
            symmetric=self.quantizer.symmetric,
        )

    def freeze(self, frozen: bool) -> None:
        """Stop or resume following the range."""
        if self.quantizer.fixed is None:
            self.frozen.fill_(frozen)
            self._restore_flags()

    def forget(self) -> None:
        """Drop the range, before a new calibration."""
        if self.quantizer.fixed is None:
            self.seen.fill_(False)
            self.frozen.fill_(False)
            self._restore_flags()

    def _params_on_host(self, device: torch.device) -> QuantParams | None:
        """Parameters if Python may know them: always on the CPU, elsewhere unless they change."""
        if self._known is None and (device.type == "cpu" or not self.training):
            params = self.params()
            if not (self.training and not self._is_frozen):
                self._known = params
            return params
        return self._known

    @torch.no_grad()
    def _widen(self, x: Tensor, source: int) -> None:
        low, high = torch.aminmax(x.detach().float())
        if self._has_range[source]:
            low = torch.minimum(low, self.minimum[source])
            high = torch.maximum(high, self.maximum[source])
        self._store(low, high, source)

    @torch.no_grad()
    def _track(self, x: Tensor, source: int) -> None:
        low, high = torch.aminmax(x.detach().float())
        if self._has_range[source]:
            low = torch.lerp(self.minimum[source], low, MOMENTUM)
            high = torch.lerp(self.maximum[source], high, MOMENTUM)
        self._store(low, high, source)

    def _store(self, low: Tensor, high: Tensor, source: int) -> None:
        self.minimum[source].copy_(low)
        self.maximum[source].copy_(high)
        self._known = None
        if not self._has_range[source]:
            self.seen[source] = True
            self._has_range[source] = True

    def _restore_flags(self) -> None:
        """Python's copies of the flags, so that no step has to ask the device."""
        self._has_range = [bool(seen) for seen in self.seen.tolist()]
        self._is_frozen = bool(self.frozen)
        self._known = self.params() if all(self._has_range) and self._is_frozen else None

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        if self.quantizer.fixed is None:
            self._restore_flags()

    def extra_repr(self) -> str:
        """Name and grid."""
        return f"{self.quantizer.name}, bits={self.quantizer.bits}"


class WeightQuantizer(nn.Module):
    """Fake quantizer of one weight, symmetric per output channel. It has no state of its own."""

    def __init__(self, name: str, bits: int) -> None:
        super().__init__()
        self.name = name
        self.bits = bits
        self.enabled: bool = True

    def forward(self, weight: Tensor) -> Tensor:
        """Fake-quantize *weight* [C, ...]."""
        return fake_quantize_weight(weight.float(), bits=self.bits) if self.enabled else weight

    def extra_repr(self) -> str:
        """Name and grid."""
        return f"{self.name}, bits={self.bits}"


class Quantizers(nn.Module):
    """All quantizers of a model, by escaped name, and what concerns all of them.

    Attributes:
        bits: uint8 buffer, so that a state for another grid is refused.
        batch_norm_frozen: bool buffer; kept here so that BatchNorm keeps its state-dict keys.
    """

    bits: Tensor
    batch_norm_frozen: Tensor

    def __init__(self, bits: int, batch_norms: Iterable[FreezableBatchNorm2d]) -> None:
        super().__init__()
        self._batch_norms = list(batch_norms)
        self.register_buffer("bits", torch.tensor(bits, dtype=torch.uint8))
        self.register_buffer("batch_norm_frozen", torch.zeros((), dtype=torch.bool))

    def add_quantizer(self, name: str, module: ActivationQuantizer | WeightQuantizer) -> None:
        """Register the quantizer of the tensor or weight *name* (not a method `add`: tensors are called so)."""
        self.add_module(quantizer_key(name), module)

    def target(self, name: str) -> str:
        """Path of that quantizer from the model."""
        return f"quantizers.{quantizer_key(name)}"

    def activations(self) -> dict[str, ActivationQuantizer]:
        """Quantizer name → module, in graph order."""
        return {m.quantizer.name: m for m in self.children() if isinstance(m, ActivationQuantizer)}

    def freeze_ranges(self, frozen: bool) -> None:
        """Stop or resume following ranges."""
        for quantizer in self.activations().values():
            quantizer.freeze(frozen)

    def freeze_batch_norm(self, frozen: bool) -> None:
        """Stop or resume learning BatchNorm statistics."""
        self.batch_norm_frozen.fill_(frozen)
        self._restore_flags()

    @contextmanager
    def calibrating(self) -> Iterator[None]:
        """Within, every forward widens the ranges and nothing is quantized."""
        quantizers = self.activations().values()
        for quantizer in quantizers:
            quantizer.forget()
            quantizer.calibrating = True
        try:
            with self.disabled():
                yield
        finally:
            for quantizer in quantizers:
                quantizer.calibrating = False

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Within, the model computes in float."""
        modules = [
            m for m in self.children() if isinstance(m, (ActivationQuantizer, WeightQuantizer))
        ]
        before = [m.enabled for m in modules]
        for module in modules:
            module.enabled = False
        try:
            yield
        finally:
            for module, enabled in zip(modules, before, strict=True):
                module.enabled = enabled

    def _restore_flags(self) -> None:
        frozen = bool(self.batch_norm_frozen)
        for module in self._batch_norms:
            module.freeze(frozen)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        saved = state_dict.get(f"{prefix}bits")
        if saved is not None and int(saved) != int(self.bits):
            raise InputError(
                f"the saved quantizers have {int(saved)} bits, the model has {int(self.bits)}",
                cure=f"Prepare the model with bits={int(saved)}.",
            )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        self._restore_flags()
