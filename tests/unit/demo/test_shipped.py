"""The maker of the model that ships: trained in short, what it makes passes the self-test."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edgecv.bench import BenchOptions
from edgecv.demo.pictures import PictureOptions
from edgecv.demo.pipeline import DemoOptions
from edgecv.demo.shipped import RECIPE, make_bundle
from edgecv.errors import GateError
from edgecv.selftest import run_selftest
from edgecv.selftest.bundle import MODELS

QUICK = BenchOptions(blocks=1, runs=50, max_seconds=0.1, warmup=1)


@pytest.mark.slow
def test_what_it_makes_passes_the_selftest(tmp_path: Path) -> None:
    demo = DemoOptions.of("resnet10_micro").recipe
    recipe = dataclasses.replace(demo, **{**RECIPE, "epochs": 8, "qat_epochs": 1})
    bundle = make_bundle(tmp_path, recipe=recipe, drawn=PictureOptions(train_per_digit=4))
    assert len(bundle.labels) == 20
    assert set(bundle.files) == {*MODELS.values(), "digits.int8.bin"}
    assert len(bundle.to_bytes()) < 100_000
    assert {"edgecv", "torch"} <= set(bundle.made_with)
    report = run_selftest(bundle=bundle, options=QUICK)
    assert [engine.state for engine in report.engines] == ["passed"] * 3


@pytest.mark.slow
def test_a_model_that_learned_nothing_is_not_shipped(tmp_path: Path) -> None:
    demo = DemoOptions.of("resnet10_micro").recipe
    recipe = dataclasses.replace(demo, **{**RECIPE, "epochs": 1, "qat_epochs": 1, "lr": 1e-6})
    with pytest.raises(GateError, match="right with a margin and the same"):
        make_bundle(tmp_path, recipe=recipe, drawn=PictureOptions(train_per_digit=1))
