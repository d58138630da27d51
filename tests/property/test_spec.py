"""Properties of the quantization spec: arithmetic and placement."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from edgecv.errors import InputError, UnsupportedError
from edgecv.spec import (
    INPUT_QUANT,
    OP_TABLE,
    OpNode,
    QuantParams,
    activation_params,
    activation_range,
    bias_params,
    dequantize,
    fold_batch_norm,
    integer_range,
    make_room_for_bias,
    place,
    quantize,
    quantize_weight,
    weight_scales,
)
from edgecv.spec.arithmetic import MAX_BIAS, MIN_SCALE, MIN_WEIGHT_SCALE
from edgecv.spec.table import Output

Array = npt.NDArray[Any]

finite = st.floats(-1e6, 1e6, width=32)
ranges = st.tuples(finite, finite).map(sorted).map(tuple)
bit_widths = st.integers(2, 8)
scales = st.floats(2.0**-16, 2.0**10, width=32)
params = st.builds(
    QuantParams, scale=scales, zero_point=st.integers(-128, 127), dtype=st.just("int8")
)


def arrays(low: float = -1e4, high: float = 1e4, **kwargs: Any) -> st.SearchStrategy[Array]:
    elements = st.floats(low, high, width=32, allow_subnormal=False)
    return nps.arrays(np.float32, elements=elements, **kwargs)


weights = arrays(-10, 10, shape=st.tuples(st.integers(1, 5), st.integers(1, 6)))


@given(arrays(shape=(20,)), params)
def test_quantize_rounds_to_the_nearest_grid_point_and_saturates(
    real: Array, grid: QuantParams
) -> None:
    integers = quantize(real, grid)
    assert integers.dtype == np.int8
    low, high = (dequantize(np.array(i, np.int8), grid) for i in (-128, 127))
    back = dequantize(integers, grid)
    clipped = np.clip(real, low, high)
    # half a step, and the float32 rounding of the division and the product
    allowed = 0.5 * grid.scale + 2e-7 * (np.abs(clipped) + 256 * grid.scale)
    assert (np.abs(back - clipped) <= allowed).all()


@given(arrays(shape=(20,)), params)
def test_uint8_is_the_same_grid(real: Array, grid: QuantParams) -> None:
    other = grid.as_dtype("uint8")
    assert np.array_equal(quantize(real, other).astype(int) - 128, quantize(real, grid))
    assert np.array_equal(
        dequantize(quantize(real, other), other), dequantize(quantize(real, grid), grid)
    )
    assert other.as_dtype("int8") == grid


@given(ranges, bit_widths)
def test_activation_grid_holds_zero_exactly_and_covers_the_range(
    bounds: tuple[float, float], bits: int
) -> None:
    minimum, maximum = bounds
    grid = activation_params(minimum, maximum, bits=bits)
    low, high = activation_range(bits)
    assert low <= grid.zero_point <= high
    assert float(np.float32(grid.scale)) == grid.scale >= MIN_SCALE
    ends = (np.array([low, high]) - grid.zero_point) * grid.scale
    assert ends[0] <= min(minimum, 0) + grid.scale * (0.5 + 1e-3)
    assert ends[1] >= max(maximum, 0) - grid.scale * (0.5 + 1e-3)


@given(ranges)
def test_the_grid_is_no_wider_than_needed(bounds: tuple[float, float]) -> None:
    minimum, maximum = bounds
    width = max(maximum, 0) - min(minimum, 0)
    assert activation_params(minimum, maximum).scale <= max(width / 255 * (1 + 1e-6), MIN_SCALE)


@given(ranges, bit_widths)
def test_symmetric_grid_has_zero_point_0_and_reaches_both_bounds(
    bounds: tuple[float, float], bits: int
) -> None:
    grid = activation_params(*bounds, bits=bits, symmetric=True)
    limit = integer_range(bits)[1]
    assert grid.zero_point == 0
    assert grid.scale * limit >= max(abs(bounds[0]), abs(bounds[1])) * (1 - 1e-6)


@given(st.floats(0, 1e6, width=32), bit_widths)
def test_zero_point_of_a_relu_output_is_the_lowest_integer(maximum: float, bits: int) -> None:
    assert activation_params(0.0, maximum, bits=bits).zero_point == -128


@pytest.mark.parametrize("bounds", [(1.0, 0.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_what_is_no_range_is_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="is not a range"):
        activation_params(*bounds)


@given(arrays(shape=(50,)), ranges, bit_widths)
def test_low_bit_integers_stay_inside_their_grid(
    real: Array, bounds: tuple[float, float], bits: int
) -> None:
    limits = activation_range(bits)
    integers = quantize(real, activation_params(*bounds, bits=bits), limits=limits)
    assert integers.min() >= limits[0]
    assert integers.max() <= limits[1]


@given(weights, bit_widths)
def test_weights_round_to_a_symmetric_grid_without_clipping(weight: Array, bits: int) -> None:
    scale = weight_scales(weight, bits=bits)
    integers = quantize_weight(weight, scale, bits=bits)
    limit = integer_range(bits)[1]
    assert scale.dtype == np.float32
    assert (scale >= np.float32(MIN_WEIGHT_SCALE)).all()
    assert np.abs(integers).max(initial=0) <= limit
    peaks = np.abs(weight).max(axis=1)
    full = peaks > limit * MIN_WEIGHT_SCALE
    assert (np.abs(integers).max(axis=1)[full] == limit).all()
    error = np.abs(integers * scale[:, None].astype(np.float64) - weight)
    assert (error <= scale[:, None] * 0.5001).all()


@given(weights)
def test_axis_of_a_weight_is_its_output_channel(weight: Array) -> None:
    assert np.array_equal(weight_scales(weight.T, axis=1), weight_scales(weight))
    scale = weight_scales(weight)
    turned = quantize_weight(weight.T, scale, axis=1)
    assert np.array_equal(turned.T, quantize_weight(weight, scale))


@given(st.integers(0, 2**32 - 1))
def test_folding_batch_norm_changes_no_integer_but_its_sign(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(6, 9)).astype(np.float32)
    gamma, beta, mean = rng.normal(size=(3, 6))
    gamma[0], gamma[1] = 0.0, -abs(gamma[1])
    var, eps, bias = rng.uniform(0.01, 4, 6), 1e-3, rng.normal(size=6)
    scale = weight_scales(weight)
    integers = quantize_weight(weight, scale)
    folded_scale, folded, folded_bias = fold_batch_norm(
        scale, integers, bias, gamma, beta, mean, var, eps
    )
    assert not folded[0].any()
    assert np.array_equal(folded[1], -integers[1])
    positive = gamma > 0
    assert np.array_equal(folded[positive], integers[positive])
    x = rng.normal(size=9)
    before = (integers * scale[:, None].astype(np.float64)) @ x + bias
    expected = (before - mean) / np.sqrt(var + eps) * gamma + beta
    after = (folded * folded_scale[:, None].astype(np.float64)) @ x + folded_bias
    np.testing.assert_allclose(after, expected, rtol=1e-5, atol=1e-5)


biases = nps.arrays(np.float64, 3, elements=st.floats(-1e3, 1e3))
weight_scale_arrays = nps.arrays(np.float32, 3, elements=st.floats(2.0**-100, 1.0, width=32))
integer_arrays = nps.arrays(np.int8, (3, 4), elements=st.integers(-127, 127))


@given(biases, scales, weight_scale_arrays, integer_arrays)
def test_after_making_room_every_bias_fits(
    bias: Array, input_scale: float, scale: Array, integers: Array
) -> None:
    wide, moved = make_room_for_bias(bias, input_scale, scale, integers)
    steps, bias_scale, final = bias_params(bias, input_scale, wide, moved, "layer")
    assert steps.dtype == np.int32
    assert np.abs(steps.astype(np.int64)).max() <= MAX_BIAS * 1.001
    assert (np.abs(steps * bias_scale.astype(np.float64) - bias) <= bias_scale * 0.5001).all()
    assert np.array_equal(bias_scale, (final.astype(np.float64) * input_scale).astype(np.float32))


@given(biases, scales, weight_scale_arrays, integer_arrays)
def test_making_room_leaves_alone_what_fits_and_moves_the_rest_by_little(
    bias: Array, input_scale: float, scale: Array, integers: Array
) -> None:
    wide, moved = make_room_for_bias(bias, input_scale, scale, integers)
    fits = np.abs(bias) <= 0.999 * MAX_BIAS * input_scale * scale.astype(np.float64)
    assert np.array_equal(wide[fits], scale[fits])
    assert np.array_equal(moved[fits], integers[fits])
    before = integers * scale[:, None].astype(np.float64)
    after = moved * wide[:, None].astype(np.float64)
    # largest change of the channel's output for 8-bit inputs, against its bias
    change = np.abs(after - before).sum(axis=1) * 255 * input_scale
    assert (change <= np.abs(bias) * integers.shape[1] * 255 / 2**31 * 1.01).all()


def test_a_live_channel_that_overflows_is_refused_by_name_and_channel() -> None:
    live = np.array([[1], [1]], np.int8)
    with pytest.raises(UnsupportedError, match=r"'fc\.weight', channel 1"):
        bias_params(np.array([0.0, 5.0]), 1e-3, np.array([1e-3, 1e-9]), live, "fc.weight")


def test_a_dead_channel_gets_a_scale_that_holds_its_bias() -> None:
    dead = np.zeros((1, 4), np.int8)
    steps, bias_scale, raised = bias_params(np.array([5.0]), 1e-3, np.array([1e-9]), dead, "x")
    assert raised[0] > 1e-9
    assert steps[0] * float(bias_scale[0]) == pytest.approx(5.0, rel=1e-6)


@pytest.mark.parametrize("bits", [1, 9])
def test_bit_widths_outside_2_to_8_are_refused(bits: int) -> None:
    with pytest.raises(InputError, match=f"bit width {bits}"):
        integer_range(bits)


# placement


@st.composite
def graphs(draw: st.DrawFn) -> list[OpNode]:
    """Random graphs of the table's operators; every operator reads earlier tensors."""
    nodes = [OpNode("input", "input")]
    kinds = [k for k in OP_TABLE if k not in ("input", "concat")]
    for i in range(draw(st.integers(1, 12))):
        kind = draw(st.sampled_from(kinds))
        count = 2 if kind in ("add", "mul", "matmul") else 1
        sources = tuple(
            nodes[draw(st.integers(max(0, len(nodes) - 3), len(nodes) - 1))].output
            for _ in range(count)
        )
        weight = f"w{i}" if OP_TABLE[kind].weighted else ""
        nodes.append(OpNode(f"t{i}", kind, sources, weight))
    return nodes


@given(graphs(), bit_widths)
def test_whoever_reads_a_tensor_reads_a_quantized_one_unless_absorbed(
    nodes: list[OpNode], bits: int
) -> None:
    placement = place(nodes, bits=bits)
    for node in nodes:
        for name in node.inputs:
            if name not in placement.tensors:
                readers = [n for n in nodes if name in n.inputs]
                assert [n.output for n in readers] == [node.output]
                assert node.kind in ("batch_norm", "relu", "relu6")


@given(graphs(), bit_widths)
def test_every_tensor_carries_a_quantizer_that_exists(nodes: list[OpNode], bits: int) -> None:
    placement = place(nodes, bits=bits)
    assert set(placement.tensors.values()) == set(placement.quantizers)
    assert placement.tensors["input"] == "input"
    assert placement.quantizers["input"].fixed == INPUT_QUANT
    assert placement.quantizers["input"].bits == 8
    assert all(q.bits == bits for q in placement.quantizers.values() if q.fixed is None)
    assert placement.weights == tuple(n.weight for n in nodes if n.weight)
    for node in nodes:
        if OP_TABLE[node.kind].output is Output.OF_INPUT:
            assert placement.tensors[node.output] == placement.tensors[node.inputs[0]]


def test_convolution_takes_batch_norm_and_one_clamp_in_order() -> None:
    nodes = [
        OpNode("input", "input"),
        OpNode("conv", "conv", ("input",), "w"),
        OpNode("bn", "batch_norm", ("conv",)),
        OpNode("act", "relu6", ("bn",)),
        OpNode("again", "relu", ("act",)),
    ]
    assert list(place(nodes).quantizers) == ["input", "act", "again"]


def test_a_tensor_with_two_readers_is_not_absorbed() -> None:
    nodes = [
        OpNode("input", "input"),
        OpNode("conv", "conv", ("input",), "w"),
        OpNode("act", "relu", ("conv",)),
        OpNode("sum", "add", ("conv", "act")),
    ]
    assert list(place(nodes).quantizers) == ["input", "conv", "act", "sum"]


def test_concat_shares_one_quantizer_between_its_inputs_and_output() -> None:
    nodes = [
        OpNode("input", "input"),
        OpNode("a", "conv", ("input",), "w"),
        OpNode("b", "conv", ("a",), "v"),
        OpNode("both", "concat", ("a", "b")),
        OpNode("pool", "max_pool", ("both",)),
    ]
    placement = place(nodes)
    assert {placement.tensors[t] for t in ("a", "b", "both", "pool")} == {"a"}
    assert list(placement.quantizers) == ["input", "a"]


def test_all_unknown_kinds_are_listed_at_once() -> None:
    nodes = [OpNode("input", "input"), OpNode("x", "gelu", ("input",)), OpNode("y", "erf", ("x",))]
    with pytest.raises(UnsupportedError, match=r"gelu \(x\), erf \(y\)"):
        place(nodes)


def test_two_tensors_of_one_name_are_refused() -> None:
    nodes = [OpNode("input", "input"), OpNode("input", "relu", ("input",))]
    with pytest.raises(UnsupportedError, match="named 'input'"):
        place(nodes)
