"""If with a condition that is a constant, or becomes one, is the branch that it takes; Split of constants is some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from differential import run_onnx
from engines import convert_and_run
from onnx import TensorProto, helper, numpy_helper
from onnx_models import OnnxModel

from edgecv.errors import UnsupportedError
from edgecv_converters import TARGETS, ReadOptions, convert_model, plan_model, prepare_source
from edgecv_converters.inlining import captured
from edgecv_converters.leave_out import leave_out

X = np.random.default_rng(1).normal(0, 1, (1, 4)).astype(np.float32)


def branch(*nodes: Any, outputs: tuple[str, ...], constants: dict[str, Any] | None = None) -> Any:
    """A graph without inputs, as If has them."""
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    stored = [numpy_helper.from_array(np.asarray(v), n) for n, v in (constants or {}).items()]
    return helper.make_graph([*nodes], "branch", [], results, stored)


def node(op: str, *names: str, **attributes: Any) -> Any:
    """An operator of several inputs and one output."""
    return helper.make_node(op, [*names[:-1]], [names[-1]], **attributes)


def choose(model: OnnxModel, condition: str, taken: Any, other: Any, *outputs: str) -> None:
    """An If with several outputs."""
    model.nodes.append(
        helper.make_node("If", [condition], [*outputs], name=f"if:{outputs[0]}", then_branch=taken, else_branch=other)
    )  # fmt: skip


def finished(model: OnnxModel, name: str, shape: tuple[int, ...] = (1, 4)) -> bytes:
    return model.output(name, shape).bytes(check=False)


def kinds(source: bytes) -> list[str]:
    return [n.op_type for n in onnx.ModelProto.FromString(source).graph.node]


def same_answers(
    source: bytes, folder: Path, *, size: int, read: ReadOptions | None = None
) -> None:
    """On every engine, those of ONNX Runtime on the source with its If; *size* operators are left."""
    wanted = run_onnx(source, {"input": X})[0]
    options = {} if read is None else {"read": read}
    for target, (result, y) in convert_and_run(source, folder, X, **options).items():
        np.testing.assert_allclose(y, wanted, rtol=1e-6, err_msg=target)
        assert sum(result.plan.statistics()["by_type"].values()) == size, target


@pytest.mark.parametrize("taken", [True, False])
@pytest.mark.parametrize("shape", [(), (1,)])
@pytest.mark.parametrize("stored", ["initializer", "Constant"])
def test_a_constant_condition(
    taken: bool, shape: tuple[int, ...], stored: str, tmp_path: Path
) -> None:
    model = OnnxModel()
    x = model.input("input", (1, 4))
    value = np.full(shape, taken)
    if stored == "initializer":
        model.constant("condition", value)
    else:
        model.nodes.append(
            helper.make_node("Constant", [], ["condition"], value=numpy_helper.from_array(value))
        )
    yes = branch(node("Relu", x, "a"), outputs=("a",))
    no = branch(node("Tanh", x, "t"), node("Sigmoid", "t", "b"), outputs=("b",))
    choose(model, "condition", yes, no, "chosen")
    source = finished(model, model.op("Elu", ["chosen"], "out"))
    same_answers(source, tmp_path, size=2 if taken else 3)
    prepared = prepare_source(source)
    assert kinds(prepared) == (["Relu", "Elu"] if taken else ["Tanh", "Sigmoid", "Elu"])
    # the condition is gone, and a prepared file is left alone
    assert [t.name for t in onnx.ModelProto.FromString(prepared).graph.initializer] == []
    assert prepare_source(prepared) is prepared


def test_a_condition_from_shapes(tmp_path: Path) -> None:
    """torch's squeeze of a dimension whose size the exporter does not know."""
    model = OnnxModel()
    x = model.input("input", ("N", 4))
    first = model.op(
        "Gather", [model.op("Shape", [x], "shape"), model.constant("zero", np.array(0))], "first"
    )
    one = model.constant("one", np.array(1))
    condition = model.op("Equal", [first, one], "is_one")
    axes = {"axes": np.array([0])}
    yes = branch(node("Squeeze", x, "axes", "s"), outputs=("s",), constants=axes)
    choose(model, condition, yes, branch(node("Identity", x, "i"), outputs=("i",)), "chosen")
    y = model.op("Relu", ["chosen"], "positive")
    y = model.op("Unsqueeze", [y, model.constant("back", np.array([0]))], "out")
    source = finished(model, y)
    assert kinds(prepare_source(source)) == ["Squeeze", "Relu", "Unsqueeze"]
    assert kinds(prepare_source(source, ReadOptions(batch=2))) == ["Identity", "Relu", "Unsqueeze"]
    wanted = run_onnx(source, {"input": X})[0]
    for target, (_, y) in convert_and_run(source, tmp_path, X).items():
        np.testing.assert_array_equal(y, wanted, err_msg=target)


def test_branches_in_branches_and_names_that_meet(tmp_path: Path) -> None:
    """Both Ifs call their results alike, and read what is around them from two levels down."""
    model = OnnxModel()
    x = model.input("input", (1, 4))
    yes, half = model.constant("yes", np.array(True)), model.constant("half", np.float32(0.5))
    for name in ("first", "second"):
        inner = branch(node("Mul", x, half, "m"), node("Add", "m", "r", "z"), outputs=("z",))
        other = branch(node("Neg", "r", "z"), outputs=("z",))
        deeper = helper.make_node(
            "If", ["no"], ["y"], name=f"deeper:{name}", then_branch=other, else_branch=inner
        )
        constants = {"no": np.array(False), "c": np.float32(2)}
        outer = branch(
            node("Relu", x, "r0"),
            node("Mul", "r0", "c", "r"),
            deeper,
            outputs=("y",),
            constants=constants,
        )
        choose(model, yes, outer, branch(node("Exp", x, "y"), outputs=("y",)), name)
        x = model.op("Tanh", [name], f"{name}/out")
    source = finished(model, x)
    same_answers(source, tmp_path, size=2 * 5)
    onnx.checker.check_model(onnx.ModelProto.FromString(prepare_source(source)), full_check=True)


def test_results_that_a_branch_only_passes_on(tmp_path: Path) -> None:
    """A copy of a value from around it, a constant of its own, and one result twice."""
    model = OnnxModel()
    x, yes = model.input("input", (1, 4)), model.constant("yes", np.array(True))
    constants = {"c": np.arange(4, dtype=np.float32)}
    copy = node("Identity", x, "copy")
    taken = branch(node("Relu", x, "r"), copy, outputs=("copy", "c", "r", "r"), constants=constants)
    other = branch(*(node("Exp", x, f"e{i}") for i in range(4)), outputs=("e0", "e1", "e2", "e3"))
    choose(model, yes, taken, other, "a", "b", "c0", "c1")
    y = model.op(
        "Add", [model.op("Mul", ["a", "b"], "ab"), model.op("Sub", ["c0", "c1"], "cc")], "out"
    )
    # ONNX Runtime gives such a result only once, and leaves the other one as it finds it
    for target, (result, found) in convert_and_run(finished(model, y), tmp_path, X).items():
        np.testing.assert_allclose(found, X * np.arange(4), rtol=1e-6, err_msg=target)
        assert "If" not in result.plan.statistics()["by_type"], target


@pytest.mark.parametrize("target", ["openvino", "onnx"])
def test_a_computed_condition_stays_with_all_that_its_branches_read(
    target: str, tmp_path: Path
) -> None:
    """Constants that only a branch reads, folded ones too, are still there; quantizers can be left out."""
    model = OnnxModel()
    x = model.input("input", (1, 4), (0.05, 3))
    top = model.op("ReduceMax", [x], "top", keepdims=0)
    condition = model.op("Greater", [top, model.constant("limit", np.float32(0))], "condition")
    shape = model.op("Shape", [x], "shape")
    ends = [model.constant(n, np.array([v])) for n, v in (("from", 1), ("to", 2))]
    size = model.op(
        "Cast", [model.op("Slice", [shape, *ends], "size")], "size/float", to=TensorProto.FLOAT
    )
    model.constant("two", np.float32(2))
    yes = branch(node("Mul", x, size, "m"), outputs=("m",))
    choose(model, condition, yes, branch(node("Mul", x, "two", "n"), outputs=("n",)), "chosen")
    y = model.op("Softmax", [model.op("Relu", ["chosen"], "scores", (0.05, 0))], "out", axis=-1)
    source = finished(model, y)
    prepared = prepare_source(source)
    assert "Shape" not in kinds(prepared)
    assert captured(onnx.ModelProto.FromString(prepared).graph) == {x, size, "two", "m", "n"}
    for model_bytes in (prepared, leave_out(prepared, ["before_softmax"])[0]):
        np.testing.assert_allclose(
            *[run_onnx(s, {"input": X})[0] for s in (source, model_bytes)], atol=0.02
        )
    assert convert_model(source, target).plan.statistics()["by_type"]["If"] == 1
    with pytest.raises(UnsupportedError, match=r"If 'if:chosen' .*no rule for If"):
        plan_model(source, "tflite")


@pytest.mark.parametrize("opset", [11, 13, 17])
@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize("axis", [1, -1])
def test_a_split_of_constants(axis: int, sized: bool, opset: int, tmp_path: Path) -> None:
    model = OnnxModel(opset)
    x = model.input("input", (1, 4))
    inputs = [model.constant("both", np.arange(8, dtype=np.float32).reshape(1, 8))]
    if sized and opset >= 13:
        inputs.append(model.constant("sizes", np.array([4, 4])))
    model.nodes.append(
        helper.make_node("Split", inputs, ["left", "right"], name="split", axis=axis)
    )
    y = model.op("Mul", [model.op("Add", [x, "left"], "sum"), "right"], "out")
    source = finished(model, y)
    same_answers(source, tmp_path, size=2)
    names = {t.name for t in onnx.ModelProto.FromString(prepare_source(source)).graph.initializer}
    assert names == {"left", "right"}


@pytest.mark.parametrize("target", TARGETS)
def test_a_split_of_which_one_part_is_read(target: str) -> None:
    """Parts that nobody reads are not made, but counted."""
    model = OnnxModel()
    x = model.input("input", (1, 4))
    both = model.constant("both", np.arange(12, dtype=np.float32).reshape(1, 12))
    sizes = model.constant("sizes", np.array([3, 4, 5]))
    outputs = ["a", "b", "c"]
    model.nodes.append(helper.make_node("Split", [both, sizes], outputs, name="split", axis=1))
    source = finished(model, model.op("Add", [x, "b"], "out"))
    graph = onnx.ModelProto.FromString(prepare_source(source)).graph
    assert {t.name: numpy_helper.to_array(t).tolist() for t in graph.initializer} == {
        "b": [[3.0, 4.0, 5.0, 6.0]]
    }
    assert plan_model(source, target).statistics()["by_type"] == {
        "ADD" if target == "tflite" else "Add": 1
    }
