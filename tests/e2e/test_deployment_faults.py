"""Every usual deployment fault costs accuracy on the demo's pictures, by more than its interval. Minutes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper, numpy_helper

from edgecv.data import Item, load_json
from edgecv.demo.pictures import DEMO_PREPROCESS
from edgecv.evaluate import Evaluation, compare, from_scores
from edgecv.preprocess import load_rgb, prepare
from edgecv.runtime import Runtime

pytestmark = pytest.mark.slow
Pixels = npt.NDArray[np.uint8]
Fault = Callable[[Item], Pixels]


def right(item: Item) -> Pixels:
    return prepare(item.path, DEMO_PREPROCESS)


def bgr_for_rgb(item: Item) -> Pixels:
    return right(item)[..., ::-1]


def height_for_width(item: Item) -> Pixels:
    height, width = DEMO_PREPROCESS.size
    swapped = prepare(item.path, replace(DEMO_PREPROCESS, size=(width, height), resize="stretch"))
    return swapped.transpose(1, 0, 2)


def crop_off_by_four(item: Item) -> Pixels:
    height, width = DEMO_PREPROCESS.size
    whole = np.pad(load_rgb(item.path), ((8, 8), (8, 8), (0, 0)), mode="edge")
    top, left = 8 + 2 + 4, 8 + 3
    return whole[top : top + height, left : left + width]


class Judge:
    """The int8 ONNX artifact on the test pictures, with or without a fault."""

    def __init__(self, demo: Path) -> None:
        self.demo = demo
        dataset = load_json(demo / "data.json")
        self.items, self.classes = dataset.of("test"), dataset.classes
        self.right = self.evaluate(right, demo / "artifacts" / "model.int8.onnx")

    def evaluate(self, fault: Fault, model: Path) -> Evaluation:
        with Runtime(model) as runtime:
            scores = [self._scores(runtime, fault(item)) for item in self.items]
        return from_scores(str(model.name), self.items, self.classes, np.concatenate(scores))

    @staticmethod
    def _scores(runtime: Runtime, pixels: Pixels) -> npt.NDArray[Any]:
        chw = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32) / np.float32(255)
        return next(iter(runtime.infer(chw).values()))

    def requires_a_drop(self, faulty: Evaluation) -> None:
        difference = compare(self.right, faulty).record.difference
        half_interval = self.right.top1.value - self.right.top1.low
        assert difference.high < 0, difference
        assert -difference.value > half_interval, (difference, half_interval)


@pytest.fixture(scope="module")
def judge(demo: Path) -> Judge:
    return Judge(demo)


def test_the_right_pixels_give_the_reported_accuracy(judge: Judge) -> None:
    assert judge.right.top1.value > 0.95


@pytest.mark.parametrize(
    "fault", [bgr_for_rgb, height_for_width, crop_off_by_four], ids=lambda f: f.__name__
)
def test_wrong_pixels_cost_accuracy(judge: Judge, fault: Fault) -> None:
    judge.requires_a_drop(judge.evaluate(fault, judge.demo / "artifacts" / "model.int8.onnx"))


def pad_off_by(model: onnx.ModelProto, levels: int) -> int:
    """Let every padded convolution pad with *levels* above its zero point; how many there were."""
    constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    producers = {out: node for node in model.graph.node for out in node.output}
    nodes, changed = [], 0
    for node in model.graph.node:
        pads = next((a for a in node.attribute if a.name == "pads" and any(a.ints)), None)
        if node.op_type == "Conv" and pads is not None:
            scale = constants[producers[node.input[0]].input[1]]
            name = f"{node.name}/wrong"
            for suffix, value in (
                ("pads", np.array([0, 0, *pads.ints[:2], 0, 0, *pads.ints[2:]], np.int64)),
                ("value", np.float32(levels) * scale),
            ):
                model.graph.initializer.append(
                    numpy_helper.from_array(np.asarray(value), f"{name}/{suffix}")
                )
            inputs = [node.input[0], f"{name}/pads", f"{name}/value"]
            nodes.append(helper.make_node("Pad", inputs, [name], name=name))
            node.input[0] = name
            node.attribute.remove(pads)
            changed += 1
        nodes.append(node)
    copies = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    return changed


@pytest.mark.parametrize(("levels", "drops"), [(0, False), (20, True)])
def test_a_wrong_padding_value_costs_accuracy(
    judge: Judge, tmp_path: Path, levels: int, drops: bool
) -> None:
    model = onnx.load(judge.demo / "model.qdq.onnx")
    assert pad_off_by(model, levels) >= 10
    del model.metadata_props[:]
    path = tmp_path / "wrong.onnx"
    onnx.save(model, path)
    faulty = judge.evaluate(right, path)
    if drops:
        judge.requires_a_drop(faulty)
    else:  # the control: the surgery itself changes nothing
        assert compare(judge.right, faulty).record.agreement.value > 0.999
