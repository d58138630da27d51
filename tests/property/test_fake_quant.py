"""The fake quantizers compute what the spec says, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from edgecv.quantize.fake_quant import (
    cut_gradient,
    device_params,
    device_weight_scales,
    fake_quantize,
    fake_quantize_on_device,
    fake_quantize_weight,
)
from edgecv.spec import (
    activation_params,
    activation_range,
    dequantize,
    quantize,
    quantize_weight,
    weight_scales,
)

Array = npt.NDArray[Any]

finite = st.floats(-1e5, 1e5, width=32)
ranges = st.tuples(finite, finite).map(sorted).map(tuple)
bit_widths = st.integers(2, 8)
values = nps.arrays(np.float32, 40, elements=st.floats(-1e5, 1e5, width=32))
weights = nps.arrays(
    np.float32,
    nps.array_shapes(min_dims=2, max_dims=4, max_side=5),
    elements=st.floats(-100, 100, width=32),
)


@given(ranges, bit_widths, st.booleans())
def test_parameters_on_the_device_are_the_specs(
    bounds: tuple[float, float], bits: int, symmetric: bool
) -> None:
    expected = activation_params(*bounds, bits=bits, symmetric=symmetric)
    low, high = (torch.tensor(b, dtype=torch.float32) for b in bounds)
    scale, zero_point = device_params(low, high, bits=bits, symmetric=symmetric)
    assert scale.dtype == torch.float32
    assert (float(scale), float(zero_point)) == (expected.scale, expected.zero_point)


@given(values, ranges, bit_widths, st.booleans())
def test_values_are_the_specs(
    real: Array, bounds: tuple[float, float], bits: int, symmetric: bool
) -> None:
    grid = activation_params(*bounds, bits=bits, symmetric=symmetric)
    limits = activation_range(bits, symmetric=symmetric)
    expected = dequantize(quantize(real, grid, limits=limits), grid)
    on_host = fake_quantize(torch.from_numpy(real), grid.scale, grid.zero_point, limits)
    assert np.array_equal(on_host.numpy(), expected)
    scale, zero = torch.tensor(grid.scale), torch.tensor(float(grid.zero_point))
    on_device = fake_quantize_on_device(torch.from_numpy(real), scale, zero, limits)
    assert np.array_equal(on_device.numpy(), expected)


@given(values, ranges, bit_widths)
def test_quantizing_twice_changes_nothing(
    real: Array, bounds: tuple[float, float], bits: int
) -> None:
    grid, limits = activation_params(*bounds, bits=bits), activation_range(bits)
    once = fake_quantize(torch.from_numpy(real), grid.scale, grid.zero_point, limits)
    assert torch.equal(fake_quantize(once, grid.scale, grid.zero_point, limits), once)


@given(weights, bit_widths)
def test_weights_are_the_specs(weight: Array, bits: int) -> None:
    expected_scales = weight_scales(weight, bits=bits)
    assert np.array_equal(
        device_weight_scales(torch.from_numpy(weight), bits=bits).numpy(), expected_scales
    )
    integers = quantize_weight(weight, expected_scales, bits=bits)
    expected = integers.astype(np.float32) * expected_scales.reshape(-1, *[1] * (weight.ndim - 1))
    found = fake_quantize_weight(torch.from_numpy(weight), bits=bits).numpy()
    assert np.array_equal(found, expected)


@given(values, ranges, bit_widths)
def test_gradient_passes_inside_the_grid_and_nowhere_else(
    real: Array, bounds: tuple[float, float], bits: int
) -> None:
    grid, limits = activation_params(*bounds, bits=bits), activation_range(bits)
    steps = real.astype(np.float64) / grid.scale + grid.zero_point
    # at the very edge the two ways to compute it may differ by a rounding
    clear = np.abs(np.abs(steps - np.mean(limits)) - (limits[1] - limits[0] + 1) / 2) > 1e-3
    inside = (steps > limits[0] - 0.5) & (steps < limits[1] + 0.5)
    weight = torch.arange(1.0, 41.0)
    for quantizer, arguments in (
        (fake_quantize, (grid.scale, grid.zero_point)),
        (fake_quantize_on_device, (torch.tensor(grid.scale), torch.tensor(grid.zero_point))),
    ):
        x = torch.from_numpy(real.copy()).requires_grad_()
        (quantizer(x, *arguments, limits) * weight).sum().backward()
        assert np.array_equal(x.grad.numpy()[clear], (inside * weight.numpy())[clear])


@given(weights)
def test_the_gradient_of_a_weight_passes_unchanged(weight: Array) -> None:
    w = torch.from_numpy(weight.copy()).requires_grad_()
    factor = torch.arange(1.0, weight.size + 1).view(weight.shape)
    (fake_quantize_weight(w, bits=4) * factor).sum().backward()
    assert torch.equal(w.grad, factor)


def test_cut_gradient_cuts_every_quantizer_and_only_within() -> None:
    def gradients() -> list[float]:
        found = []
        for quantizer in (
            lambda t: fake_quantize(t, 0.1, 0, (-128, 127)),
            lambda t: fake_quantize_on_device(t, torch.tensor(0.1), torch.tensor(0.0), (-128, 127)),
            lambda t: fake_quantize_weight(t, bits=8),
        ):
            x = torch.tensor([[1.0, 2.0]], requires_grad=True)
            quantizer(x).sum().backward()
            found.append(float(x.grad.abs().sum()))
        return found

    assert gradients() == [2.0, 2.0, 2.0]
    with cut_gradient():
        assert gradients() == [0.0, 0.0, 0.0]
    assert gradients() == [2.0, 2.0, 2.0]
