"""What one difference says, and how many are listed."""

from __future__ import annotations

import numpy as np
import pytest

from edgecv.verify.mismatch import LIMIT, Mismatch, compare_elements, compare_per_channel


@pytest.mark.parametrize(
    ("mismatch", "said"),
    [
        (
            Mismatch("conv1.weight", "integer", 12, 13, channel=3, index=85),
            "conv1.weight, channel 3, element 85: integer is 13, the source has 12",
        ),
        (
            Mismatch("conv1.weight", "scale", 0.5, 0.25, channel=0),
            "conv1.weight, channel 0: scale is 0.25, the source has 0.5",
        ),
        (
            Mismatch("act1", "zero_point", -128, -127),
            "act1: zero_point is -127, the source has -128",
        ),
        (
            Mismatch("fc.weight", "shape", (4, 5), (5, 4)),
            "fc.weight: shape is (5, 4), the source has (4, 5)",
        ),
        (
            Mismatch("act1", "presence", "an int8 tensor", "nothing"),
            "act1: presence is nothing, the source has an int8 tensor",
        ),
    ],
)
def test_a_mismatch_names_tensor_channel_and_both_values(mismatch: Mismatch, said: str) -> None:
    assert str(mismatch) == said


class TestPerChannel:
    def test_equal(self) -> None:
        assert compare_per_channel("a", "scale", np.float32([1, 2]), np.float32([1, 2])) == []

    def test_the_channel_is_named(self) -> None:
        found = compare_per_channel("a", "zero_point", np.array([0, 0, 7]), np.array([0, 1, 8]))
        assert found == [
            Mismatch("a", "zero_point", 0, 1, channel=1),
            Mismatch("a", "zero_point", 7, 8, channel=2),
        ]

    def test_one_for_the_whole_tensor_has_no_channel(self) -> None:
        before = np.float32(0.02)
        after = np.nextafter(before, np.float32(1))
        (found,) = compare_per_channel("a", "scale", before, after)
        assert found == Mismatch("a", "scale", float(before), float(after))
        # both values are told apart in print
        assert str(found).count("0.0200000014") == 1

    def test_another_number_of_channels(self) -> None:
        found = compare_per_channel("a", "scale", np.ones(8, np.float32), np.ones(1, np.float32))
        assert found == [Mismatch("a", "scale", "8 numbers", "1 numbers")]


class TestElements:
    def test_channel_and_index_count_along_the_given_axis(self) -> None:
        before = np.zeros((3, 4), np.int8)
        after = before.copy()
        after[2, 1] = 1
        assert compare_elements("w", "integer", before, after, 0) == [
            Mismatch("w", "integer", 0, 1, channel=2, index=9)
        ]
        assert compare_elements("w", "integer", before, after, 1) == [
            Mismatch("w", "integer", 0, 1, channel=1, index=5)
        ]
        assert compare_elements("w", "integer", before, after, None) == [
            Mismatch("w", "integer", 0, 1, index=9)
        ]

    def test_the_last_entry_counts_what_is_not_listed(self) -> None:
        before = np.zeros((4, 8), np.int8)
        after = before + np.int8(1)
        found = compare_elements("w", "integer", before, after, 0)
        assert len(found) == LIMIT + 1
        assert [m.index for m in found[:LIMIT]] == list(range(LIMIT))
        assert str(found[-1]) == "w: integer is 32 different, the source has all 32 equal"

    def test_as_many_as_the_limit_are_listed_without_it(self) -> None:
        before = np.zeros(LIMIT, np.int8)
        assert len(compare_elements("w", "integer", before, before + np.int8(1), 0)) == LIMIT

    def test_floats_are_compared_bit_for_bit(self) -> None:
        nan = np.float32([np.nan, 0.0])
        assert compare_elements("w", "value", nan, nan.copy(), 0) == []
        (found,) = compare_elements("w", "value", nan, np.float32([np.nan, -0.0]), 0)
        assert (found.channel, str(found.found), str(found.expected)) == (1, "-0.0", "0.0")

    def test_shape_and_dtype_are_said_instead_of_elements(self) -> None:
        before = np.zeros((2, 3), np.int8)
        assert compare_elements("w", "integer", before, before.T, 0) == [
            Mismatch("w", "shape", (2, 3), (3, 2))
        ]
        assert compare_elements("w", "integer", before, before.astype(np.int32), 0) == [
            Mismatch("w", "dtype", "int8", "int32")
        ]

    @pytest.mark.parametrize("axis", [0, None])
    def test_nothing_equals_nothing(self, axis: int | None) -> None:
        empty = np.zeros((0, 3), np.int8)
        assert compare_elements("w", "integer", empty, empty, axis) == []
