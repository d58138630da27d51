"""ONNX files that are not what they claim to be: one clear error, nothing written, nothing else raised."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from damaged_onnx import DAMAGED, changed, name_in_latin
from mutants import mutants
from onnx import TensorProto, helper
from onnx_models import OnnxModel, many_operators, small_resnet

from edgecv.conversion import convert
from edgecv.errors import EdgecvError, InputError, ModelLoadError, UnsupportedError
from edgecv_converters import TARGETS, convert_model, plan_model

EXECUTABLE = Path(sys.executable).parent / "edgecv"
#: Seeds of the quick suite; the slow one goes on to ALL_SEEDS. Two files per seed.
QUICK_SEEDS, ALL_SEEDS = 60, 300


def shapes_of_shapes() -> bytes:
    """Exporters' way to flatten: what the folder gets to see."""
    model = OnnxModel()
    x = model.input("input", (1, 4, 2, 3))
    first = model.op(
        "Gather", [model.op("Shape", [x], "shape"), model.constant("zero", np.array(0))], "first"
    )
    first = model.op("Unsqueeze", [first, model.constant("axes", np.array([0]))], "first/1")
    sizes = model.op("Concat", [first, model.constant("rest", np.array([-1]))], "sizes", axis=0)
    return model.output(model.op("Reshape", [x, sizes], "out"), (1, 24)).bytes()  # fmt: skip


@cache
def bases() -> list[bytes]:
    return [
        small_resnet().bytes(), small_resnet(quantized=False, batch="N").bytes(), many_operators().bytes(),
        many_operators(quantized=False).bytes(), shapes_of_shapes(),
    ]  # fmt: skip


def outcome(data: bytes, target: str) -> str:
    """How a conversion ends; raises whatever is no error of ours."""
    try:
        convert_model(data, target)
    except EdgecvError as error:
        good = error.exit_code == 2 and error.cure and len(str(error)) < 5000
        return type(error).__name__ if good else repr(error)
    return "converted"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(QUICK_SEEDS), id="quick"),
        pytest.param(range(QUICK_SEEDS, ALL_SEEDS), id="all", marks=pytest.mark.slow),
    ],
)
def test_mutants(seeds: range, target: str) -> None:
    ends = Counter(outcome(data, target) for _, data in mutants(bases(), seeds))
    assert set(ends) <= {"converted", "ModelLoadError", "UnsupportedError", "InputError"}
    # a suite that no longer gets past the parser proves nothing
    assert ends["converted"] >= len(seeds) // 20
    assert ends["UnsupportedError"] >= len(seeds) // 20


@pytest.mark.parametrize("cut", range(24))
def test_truncated(cut: int) -> None:
    data = bases()[0]
    with pytest.raises(ModelLoadError):
        convert_model(data[: len(data) * cut // 24], "tflite")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("what", DAMAGED)
def test_damaged(what: str, target: str) -> None:
    change, kind, said = DAMAGED[what]
    with pytest.raises(kind, match=said) as caught:
        convert_model(changed(change), target)
    assert len(str(caught.value)) < 1000
    assert caught.value.cure


def test_a_name_that_is_no_text() -> None:
    data = changed(name_in_latin).replace("Größe".encode(), "Größe".encode("latin-1") + b"xx")
    with pytest.raises(ModelLoadError, match=r"not text|not an ONNX model"):
        convert_model(data, "tflite")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("target", TARGETS)
def test_a_weight_that_is_not_finite(value: float, target: str) -> None:
    model = small_resnet(quantized=False)
    model.constants["conv1.weight"][2, 1, 0, 2] = value
    with pytest.raises(ModelLoadError, match=r"'conv1\.weight' holds a value that is not finite"):
        convert_model(model.bytes(), target)


def test_all_unsupported_operators_at_once() -> None:
    """Where, with which shapes, what would do, and how to add what is missing."""
    model = OnnxModel()
    x = model.input("input", (1, 4, 6, 6))
    x = model.op("Elu", [x], "elu", alpha=0.5)
    x = model.op("Sin", [x], "sin")
    x = model.op("Conv", [x, model.constant("w", np.ones((4, 4, 1, 1), np.float32))], "conv")
    x = model.op("Relus", [x], "relus", domain="com.example")
    x = model.op("Relu", [x], "relu")
    x = model.op("ReduceMax", [x], "max", axes=[-1])
    source = model.output(x, (1, 4, 6)).bytes(check=False)
    with pytest.raises(UnsupportedError) as caught:
        plan_model(source, "tflite")
    first, *refused, last = str(caught.value).splitlines()
    assert first == "3 operators or tensors are not supported:"
    assert refused == [
        "  Elu 'node:elu' (1x4x6x6): alpha must be 1, got 0.5; nearest: Elu(alpha=1)",
        "  Sin 'node:sin' (1x4x6x6): no rule for Sin",
    ]
    assert last.startswith(
        "  Relus 'node:relus' (1x4x6x6): no rule for com.example::Relus; nearest: Relu"
    )
    assert "docs/new-operator.md" in last
    assert "edgecv convert --list-ops" in last


@pytest.mark.parametrize("target", TARGETS)
def test_deep_models(target: str) -> None:
    """Ten thousand operators, one behind the other: no recursion, no square."""
    model = OnnxModel()
    x = model.input("input", (1, 4))
    for number in range(5000):
        x = model.op("Identity", [model.op("Relu", [x], f"relu{number}")], f"copy{number}")
    assert outcome(model.output(x).bytes(check=False), target) == "converted"


def test_nested_graphs_end_somewhere() -> None:
    """Protobuf stops at a depth of a hundred messages."""

    def field(number: int, value: bytes) -> bytes:
        size, length = len(value), bytearray()
        while size > 0x7F:
            length.append(size & 0x7F | 0x80)
            size >>= 7
        return bytes([number << 3 | 2, *length, size]) + value

    graph = helper.make_node("Relu", ["input"], ["out"]).SerializeToString()
    for _ in range(10_000):
        # NodeProto.attribute, AttributeProto.g, GraphProto.node
        graph = field(5, field(6, field(1, graph)))
    head = onnx.ModelProto(ir_version=8, opset_import=[helper.make_opsetid("", 17)])
    with pytest.raises(ModelLoadError, match="not an ONNX model"):
        convert_model(head.SerializeToString() + field(7, field(1, graph)), "tflite")


def run_cli(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(EXECUTABLE), *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )  # fmt: skip


@pytest.mark.parametrize("what", ["missing initializer", "cycle", "open dimension", "truncated"])
def test_the_command_line_leaves_nothing(what: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    data = changed(DAMAGED[what][0]) if what in DAMAGED else bases()[0][:-500]
    path.write_bytes(data)
    path.chmod(0o444)
    before = path.stat()
    targets = [word for target in TARGETS for word in ("--target", target)]
    done = run_cli("convert", path, *targets, "--out", tmp_path / "out")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert sum(line.startswith("edgecv: error:") for line in done.stderr.splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    assert path.read_bytes() == data
    assert path.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("target", TARGETS)
def test_the_source_is_not_touched(target: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(bases()[0])
    before = path.stat()
    assert convert(path, target=target, out=tmp_path / "out").path.exists()
    with pytest.raises(InputError, match="exists"):
        convert(path, target=target, out=tmp_path / "out")
    assert path.read_bytes() == bases()[0]
    assert path.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("size", [2**31, 2**40], ids=["2 GiB", "1 TiB"])
def test_a_file_over_two_gibibytes(size: int, tmp_path: Path) -> None:
    """Refused by its size; sparse here, so that nobody's disk fills."""
    path = tmp_path / "model.onnx"
    path.write_bytes(bases()[0])
    os.truncate(path, size)
    with pytest.raises(ModelLoadError, match=rf"has {size} bytes.*end at 2 GiB"):
        convert(path, out=tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


MEMORY = """
import resource, sys, warnings
from pathlib import Path
from edgecv_converters import convert_model, plan_model
from edgecv.conversion import convert
from edgecv.errors import EdgecvError

# whatever happens, this machine has others to serve
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
folder = Path(sys.argv[1])
convert_model((folder / "warm.onnx").read_bytes(), "tflite")
convert_model((folder / "warm.onnx").read_bytes(), "onnx")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(folder.glob("hostile-*.onnx")):
    for target in ("tflite", "onnx"):
        try:
            convert(path, target=target, out=folder / "out", verify=False, overwrite=True)
        except EdgecvError:
            pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def large_intermediate(op: str, sizes: list[int]) -> bytes:
    model = OnnxModel()
    x = model.input("input", (1, 1))
    shape = model.constant("shape", np.array(sizes))
    inputs = {"Expand": [x, shape], "Tile": [x, shape], "ConstantOfShape": [shape]}[op]
    y = model.op(op, inputs, "large")
    y = model.op("ReduceMax", [model.op("Add", [x, y], "sum")], "out", axes=[1])
    return model.output(y).bytes(check=False)


def a_range(end: int) -> bytes:
    model = OnnxModel()
    x = model.input("input", (1, 1))
    numbers = [model.constant(n, np.array(v)) for n, v in (("from", 0), ("to", end), ("step", 1))]
    y = model.op("Cast", [model.op("Range", numbers, "range")], "large", to=TensorProto.FLOAT)
    y = model.op("ReduceMax", [model.op("Add", [x, y], "sum")], "out", axes=[1])
    return model.output(y).bytes(check=False)


def test_memory_does_not_follow_what_a_file_claims(tmp_path: Path) -> None:
    (tmp_path / "warm.onnx").write_bytes(shapes_of_shapes())
    hostile = [
        *(changed(change) for what, (change, _, _) in DAMAGED.items() if "absurd" in what or "overflows" in what),
        *(large_intermediate(op, [1, size]) for op in ("Expand", "Tile", "ConstantOfShape") for size in (2**30, 2**45)),
        *(a_range(end) for end in (2**30, 2**45)),
    ]  # fmt: skip
    for number, data in enumerate(hostile):
        (tmp_path / f"hostile-{number}.onnx").write_bytes(data)
    os.truncate(tmp_path / "hostile-0.onnx", 2**33)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path)], capture_output=True, text=True, timeout=300, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    kibibytes = int(done.stdout.split()[-1])
    assert kibibytes < 64 * 1024, f"{kibibytes / 1024:.0f} MiB"
