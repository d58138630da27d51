"""If and Split that are not what they claim to be: folded, left alone, or one clear error; memory bounded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from mutants import mutants
from onnx import TensorProto, helper, numpy_helper
from onnx_models import OnnxModel

from edgecv.errors import EdgecvError, ModelLoadError, UnsupportedError
from edgecv_converters import TARGETS, convert_model, folding, plan_model, prepare_source


def branch(*nodes: Any, outputs: tuple[str, ...], constants: dict[str, Any] | None = None) -> Any:
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    stored = [numpy_helper.from_array(np.asarray(v), n) for n, v in (constants or {}).items()]
    return helper.make_graph([*nodes], "branch", [], results, stored)


def chooser(condition: Any = True) -> tuple[OnnxModel, Any, Any]:
    """A model with one If, and both of its branches (copies go into it: edit the node's)."""
    model = OnnxModel()
    x = model.input("input", (1, 4))
    model.constant("condition", np.array(condition))
    yes = branch(
        helper.make_node("Relu", [x], ["a"]), outputs=("a",), constants={"spare": np.float32(1)}
    )
    no = branch(helper.make_node("Tanh", [x], ["b"]), outputs=("b",))
    model.nodes.append(
        helper.make_node("If", ["condition"], ["chosen"], name="if", then_branch=yes, else_branch=no)
    )  # fmt: skip
    model.output(model.op("Sigmoid", ["chosen"], "out"), (1, 4))
    taken, other = (
        next(a.g for a in model.nodes[0].attribute if a.name == f"{which}_branch")
        for which in ("then", "else")
    )
    return model, taken, other


def without_branch(model: OnnxModel, taken: Any) -> None:
    kept = [a for a in model.nodes[0].attribute if a.name != "then_branch"]
    del model.nodes[0].attribute[:]
    model.nodes[0].attribute.extend(kept)


def one_result_more(model: OnnxModel, taken: Any) -> None:
    taken.output.add().name = "a"


def an_input(model: OnnxModel, taken: Any) -> None:
    taken.input.add().CopyFrom(helper.make_tensor_value_info("z", TensorProto.FLOAT, (1, 4)))


def a_missing_name(model: OnnxModel, taken: Any) -> None:
    taken.node[0].input[0] = "nowhere"


def a_result_of_nothing(model: OnnxModel, taken: Any) -> None:
    taken.output[0].name = "nothing"


def a_ring(model: OnnxModel, taken: Any) -> None:
    taken.node[0].input[0] = "out"


def two_of_one_name(model: OnnxModel, taken: Any) -> None:
    taken.node.append(helper.make_node("Exp", ["input"], ["a"]))


def a_broken_name(model: OnnxModel, taken: Any) -> None:
    taken.node[0].name = "two\nlines"


def sparse(model: OnnxModel, taken: Any) -> None:
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [0])
    values = helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0])
    taken.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))


def an_absurd_constant(model: OnnxModel, taken: Any) -> None:
    taken.initializer[0].dims[:] = [2**40]


def in_another_file(model: OnnxModel, taken: Any) -> None:
    taken.initializer[0].data_location = TensorProto.EXTERNAL
    entry = taken.initializer[0].external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"


BROKEN: dict[str, tuple[Callable[[OnnxModel, Any], None], type[EdgecvError], str]] = {
    "no branch": (without_branch, ModelLoadError, "has no then_branch|contradict"),
    "another number of results": (one_result_more, ModelLoadError, "gives 2 results; it must take none and give 1"),
    "inputs": (an_input, ModelLoadError, "takes 1 inputs and gives 1 results"),
    "a missing name": (a_missing_name, ModelLoadError, "reads 'nowhere', which nothing produces"),
    "a result of nothing": (a_result_of_nothing, ModelLoadError, "reads 'nothing', which nothing produces"),
    "a ring": (a_ring, ModelLoadError, "depend on each other in a cycle"),
    "two of one name": (two_of_one_name, ModelLoadError, "two operators or constants produce"),
    "a name of two lines": (a_broken_name, ModelLoadError, r"not text \('two\\nlines'\)"),
    "sparse constants": (sparse, UnsupportedError, "the then_branch of If 'if' has sparse constants"),
    "an absurd constant": (an_absurd_constant, ModelLoadError, r"'spare' has dimensions \[1099511627776\]"),
    "data in another file": (in_another_file, UnsupportedError, "'spare' keeps its data in another file"),
}  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_branch_is_one_error(what: str, target: str) -> None:
    change, kind, said = BROKEN[what]
    model, taken, _ = chooser()
    change(model, taken)
    with pytest.raises(kind, match=said) as caught:
        convert_model(model.bytes(check=False), target)
    assert caught.value.exit_code == 2
    assert caught.value.cure
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("what", [name for name in BROKEN if name != "no branch"])
def test_a_broken_branch_that_is_not_taken_does_not_matter(what: str) -> None:
    model, _, other = chooser()
    if not other.initializer:
        other.initializer.append(numpy_helper.from_array(np.float32(1), "spare"))
    BROKEN[what][0](model, other)
    plan = plan_model(model.bytes(check=False), "tflite")
    assert plan.statistics()["by_type"] == {"LOGISTIC": 1, "RELU": 1}


@pytest.mark.parametrize("condition", [1, 1.0, [True, True], [], [[True]]])
def test_a_condition_that_is_no_bool_is_left_alone(condition: Any) -> None:
    model, _, _ = chooser(condition)
    with pytest.raises(EdgecvError, match=r"no rule for If|contradict"):
        plan_model(model.bytes(check=False), "tflite")


def test_a_condition_without_data() -> None:
    model, _, _ = chooser()
    proto = model.proto()
    proto.graph.initializer[0].ClearField("raw_data")
    with pytest.raises(ModelLoadError, match="'condition' has dimensions"):
        plan_model(proto.SerializeToString(), "tflite")


def outcome(data: bytes, target: str) -> str:
    try:
        convert_model(data, target)
    except EdgecvError as error:
        return type(error).__name__ if error.exit_code == 2 and error.cure else repr(error)
    return "converted"


@pytest.mark.parametrize("target", TARGETS)
def test_mutants(target: str) -> None:
    bases = [chooser()[0].bytes(check=False), splitter().bytes(check=False)]
    ends = {outcome(data, target) for _, data in mutants(bases, range(40))}
    assert ends <= {"converted", "ModelLoadError", "UnsupportedError", "InputError"}
    assert "converted" in ends


def test_ifs_in_ifs_as_deep_as_protobuf_goes() -> None:
    """Every level is taken; names that meet get another one, so that nothing is read from another level."""
    graph = branch(helper.make_node("Relu", ["input"], ["y"]), outputs=("y",))
    other = branch(helper.make_node("Exp", ["input"], ["z"]), outputs=("z",))
    for level in range(28):
        inner = helper.make_node(
            "If", ["condition"], ["deep"], name=f"if{level}", then_branch=graph, else_branch=other
        )
        step = helper.make_node("Tanh", ["deep"], ["y"])
        graph = branch(inner, step, outputs=("y",))
    model = OnnxModel()
    model.input("input", (1, 4))
    model.constant("condition", np.array(True))
    model.nodes.append(
        helper.make_node("If", ["condition"], ["out"], name="if", then_branch=graph, else_branch=other)
    )  # fmt: skip
    source = model.output("out", (1, 4)).bytes(check=False)
    assert plan_model(source, "tflite").statistics()["by_type"] == {"RELU": 1, "TANH": 28}


def test_thousands_of_ifs() -> None:
    """One behind the other, every one with the same names: no square."""
    model = OnnxModel()
    x = model.input("input", (1, 4))
    model.constant("condition", np.array(True))
    for number in range(3000):
        yes = branch(
            helper.make_node("Relu", [x], ["t"]),
            helper.make_node("Neg", ["t"], ["a"]),
            outputs=("a",),
        )
        no = branch(helper.make_node("Exp", [x], ["a"]), outputs=("a",))
        x = f"x{number}"
        model.nodes.append(
            helper.make_node("If", ["condition"], [x], name=f"if{number}", then_branch=yes, else_branch=no)
        )  # fmt: skip
    prepared = onnx.ModelProto.FromString(
        prepare_source(model.output(x, (1, 4)).bytes(check=False))
    )
    assert len(prepared.graph.node) == 6000


def splitter(total: int = 8, sizes: tuple[int, ...] = (4, 4)) -> OnnxModel:
    """A Split of constants that the input is added to."""
    model = OnnxModel()
    x = model.input("input", (1, 4))
    both = model.constant("both", np.arange(total, dtype=np.float32).reshape(1, total))
    names = [f"part{i}" for i in range(len(sizes))]
    model.nodes.append(
        helper.make_node("Split", [both, model.constant("sizes", np.array(sizes))], names, name="split", axis=1)
    )  # fmt: skip
    return model.output(model.op("Add", [x, names[-1]], "out"), (1, 4))


@pytest.mark.parametrize(
    ("sizes", "said"),
    [((5, 4), "contradict"), ((-4, 12), "contradict|dimensions"), ((4, 2**40), "contradict|dimensions")],
)  # fmt: skip
@pytest.mark.parametrize("target", TARGETS)
def test_a_split_that_does_not_add_up(sizes: tuple[int, ...], said: str, target: str) -> None:
    with pytest.raises(ModelLoadError, match=said):
        convert_model(splitter(sizes=sizes).bytes(check=False), target)


def test_a_split_of_what_is_too_large_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few bytes may ask for gigabytes; the sum of the parts counts."""
    monkeypatch.setattr(folding, "_computed", lambda *_: pytest.fail("computed"))
    model = OnnxModel()
    x = model.input("input", (1, 1))
    large = model.op("ConstantOfShape", [model.constant("shape", np.array([1, 2**30]))], "large")
    sizes = model.constant("sizes", np.array([1, 2**30 - 1]))
    model.nodes.append(helper.make_node("Split", [large, sizes], ["a", "b"], name="split", axis=1))
    source = model.output(model.op("Add", [x, "a"], "out"), (1, 1)).bytes(check=False)
    with pytest.raises(UnsupportedError, match="ConstantOfShape 'node:large'"):
        plan_model(source, "tflite")


def test_split_after_split_has_one_budget() -> None:
    """Each halves what all of them read: together more than a file's constants may become."""
    model = OnnxModel()
    x = model.input("input", (1, 2**19))
    both = model.constant("both", np.zeros((1, 2**20), np.float32))
    for number in range(24):
        names = [f"a{number}", f"b{number}"]
        model.nodes.append(helper.make_node("Split", [both], names, name=f"s{number}", axis=1))
        x = model.op("Add", [x, names[0]], f"sum{number}")
    left = onnx.ModelProto.FromString(prepare_source(model.output(x).bytes())).graph.node
    # 2²³ and the file's own 2²⁰ elements: nine of them
    assert sum(n.op_type == "Split" for n in left) == 24 - 9


MEMORY = """
import resource, sys
from pathlib import Path
from edgecv_converters import convert_model
from edgecv.errors import EdgecvError

resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
folder = Path(sys.argv[1])
convert_model((folder / "warm.onnx").read_bytes(), "tflite")
convert_model((folder / "warm.onnx").read_bytes(), "onnx")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(folder.glob("hostile-*.onnx")):
    for target in ("tflite", "onnx"):
        try:
            convert_model(path.read_bytes(), target)
        except EdgecvError:
            pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def a_large_branch(*, taken: bool) -> bytes:
    """A branch that makes 2³⁵ elements of a few bytes."""
    model, yes, _ = chooser(taken)
    constants = {"shape": np.array([1, 2**35])}
    large = branch(
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("Add", ["input", "zeros"], ["sum"]),
        helper.make_node("ReduceMax", ["sum"], ["m"], axes=[1], keepdims=1),
        outputs=("m",), constants=constants,
    )  # fmt: skip
    yes.CopyFrom(large)
    model.inputs[0].type.tensor_type.shape.dim[1].dim_value = 1
    model.outputs[0].type.tensor_type.shape.dim[1].dim_value = 1
    return model.bytes(check=False)


def test_memory_does_not_follow_what_a_branch_claims(tmp_path: Path) -> None:
    (tmp_path / "warm.onnx").write_bytes(splitter().bytes())
    hostile = [a_large_branch(taken=True), a_large_branch(taken=False)]
    for size in (2**30, 2**45):
        model = OnnxModel()
        x = model.input("input", (1, 1))
        tiled = model.op("Tile", [x, model.constant("times", np.array([1, size]))], "tiled")
        sizes = model.constant("sizes", np.array([1, size - 1]))
        model.nodes.append(
            helper.make_node("Split", [tiled, sizes], ["a", "b"], name="split", axis=1)
        )
        hostile.append(model.output(model.op("Relu", ["a"], "out"), (1, 1)).bytes(check=False))
    for number, data in enumerate(hostile):
        (tmp_path / f"hostile-{number}.onnx").write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path)], capture_output=True, text=True, timeout=300, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    kibibytes = int(done.stdout.split()[-1])
    assert kibibytes < 64 * 1024, f"{kibibytes / 1024:.0f} MiB"
