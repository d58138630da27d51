"""``raw`` gives the pixel for every grid; no text makes the parsers of foreign metadata fall."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgecv.errors import InputError
from edgecv.foreign.labels import parse_lines
from edgecv.foreign.presets import read_argument
from edgecv.foreign.suggest import suggest
from edgecv.foreign.ultralytics import _parse_names
from edgecv.preprocess import to_input
from edgecv.spec import QuantParams, TensorSpec

PIXELS = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)


@st.composite
def grids(draw: st.DrawFn) -> QuantParams:
    dtype = draw(st.sampled_from(["int8", "uint8"]))
    scale = draw(st.floats(2.0**-110, 2.0**110, width=32))
    low = -128 if dtype == "int8" else 0
    return QuantParams(scale, draw(st.integers(low, low + 255)), dtype)


@given(grids(), st.sampled_from(["NHWC", "NCHW"]))
def test_raw_is_the_pixel_on_every_grid(grid: QuantParams, layout: str) -> None:
    shape = (1, 16, 16, 3) if layout == "NHWC" else (1, 3, 16, 16)
    spec = TensorSpec("x", shape, grid.dtype, layout, grid)
    integers = to_input(PIXELS, spec, read_argument("raw", (spec,)))[0].view(np.uint8)
    expected = PIXELS if layout == "NHWC" else PIXELS.transpose(2, 0, 1)
    assert np.array_equal(integers ^ (128 if grid.dtype == "int8" else 0), expected)


@given(grids())
def test_a_suggestion_of_raw_is_within_a_step_of_what_the_grid_says(grid: QuantParams) -> None:
    spec = TensorSpec("x", (1, 16, 16, 3), grid.dtype, "NHWC", grid)
    found = suggest((spec,)).presets
    if "raw" in found and len(found) > 1:
        other = next(name for name in found if name != "raw")
        raw, real = (
            to_input(PIXELS, spec, read_argument(name, (spec,))).astype(int)
            for name in ("raw", other)
        )
        assert np.abs(raw - real).max() <= 1


@given(st.dictionaries(st.integers(0, 9999), st.text(st.characters(exclude_categories=["Cs"]))))
def test_names_in_pythons_repr_come_back(names: dict[int, str]) -> None:
    assert _parse_names(repr(names)) == {str(key): name for key, name in names.items()}


@given(st.text())
def test_no_text_does_anything_but_parse_or_raise(text: str) -> None:
    for parse in (_parse_names, lambda t: parse_lines(t, "x")):
        try:
            parse(text)
        except (ValueError, InputError):
            continue


@given(st.lists(st.text(min_size=1).map(str.strip).filter(bool), min_size=1))
def test_json_lists_and_lines_agree(names: list[str]) -> None:
    plain = [name for name in names if not set(name) & set("\r\n")]
    if plain:
        assert parse_lines("\n".join(plain), "x") == tuple(json.loads(json.dumps(plain)))
