"""What ``edgecv.Runtime`` costs beside the engines: calls, start, memory, size of an installation.

- **Overhead**: ``.infer`` less the best public raw call of the same engine on the same tiny model, in the
  same run, in alternating blocks. LiteRT: ``set_tensor``, ``invoke``, ``get_tensor``. ONNX Runtime: a bound
  session whose input and output are the caller's memory. OpenVINO: a bound request, likewise. The bound
  calls copy nothing; ``.infer`` checks the array, copies it in and gives the caller an output of its own.
- **Start**: CPU time of fresh interpreters, alternating, bytecode compiled, less that of a bare one.
- **Memory**: peak resident size of a process that runs MobileNetV2 int8 through a ``Runtime``.
- **Installation**: the wheel with ``[litert]`` in an empty folder, as pip puts it there, without bytecode.

Run: ``pytest benchmarks/runtime_cost.py`` (two minutes, most of it installing; ``-k "not installation"``
leaves that out). EDGECV_TEST_DATA names the folder with MobileNetV2.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tiny_models
from record import Row
from timing import calls_us, child, paired

import edgecv
from edgecv_runtimes.quiet import import_litert, import_onnxruntime, import_openvino

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "tests" / "golden" / "tiny.int8.tflite"
MOBILENET = "models/tf2_mobilenet_v2_1.0_224_ptq.tflite"
#: Megabytes of the installation, by machine.
SIZE_BARS = {"x86_64": 165.0, "aarch64": 150.0}

Array = np.ndarray[Any, Any]


def uint8_onnx() -> bytes:
    """The tiny QDQ classifier with the integers of its input quantizer as input."""
    model = onnx.load_from_string(tiny_models.onnx_model("int8"))
    graph = model.graph
    [first] = [n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] == "input"]
    graph.node.remove(first)
    for node in graph.node:
        node.input[:] = ["input" if name == first.output[0] else name for name in node.input]
    graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def raw_litert(model: bytes, array: Array) -> Callable[[], Any]:
    interpreter = import_litert().Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]

    def call() -> Any:
        interpreter.set_tensor(source, array)
        interpreter.invoke()
        return interpreter.get_tensor(target)

    return call


def raw_onnxruntime(model: bytes, array: Array) -> Callable[[], Any]:
    engine = import_onnxruntime()
    options = engine.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = engine.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    [source], [target] = session.get_inputs(), session.get_outputs()
    output = np.zeros(target.shape, np.float32)
    values = [engine.OrtValue.ortvalue_from_numpy(memory) for memory in (array, output)]
    binding = session.io_binding()
    binding.bind_ortvalue_input(source.name, values[0])
    binding.bind_ortvalue_output(target.name, values[1])

    def call() -> Any:
        session.run_with_iobinding(binding)
        return output

    return call


def raw_openvino(model: tuple[bytes, bytes], array: Array) -> Callable[[], Any]:
    engine = import_openvino()
    core = engine.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
    }
    compiled = core.compile_model(core.read_model(*model), "CPU", settings)
    request = compiled.create_infer_request()
    output = np.zeros(tuple(compiled.outputs[0].shape), np.float32)
    request.set_input_tensor(0, engine.Tensor(array, shared_memory=True))
    request.set_output_tensor(0, engine.Tensor(output, shared_memory=True))

    def call() -> Any:
        request.infer()
        return output

    return call


ENGINES: dict[str, tuple[Callable[..., Callable[[], Any]], dict[str, Callable[[], Any]]]] = {
    "litert": (
        raw_litert,
        {"int8": tiny_models.tflite, "float32": lambda: tiny_models.tflite("float32")},
    ),
    "onnxruntime": (raw_onnxruntime, {"uint8": uint8_onnx, "float32": tiny_models.onnx_model}),
    "openvino": (
        raw_openvino,
        {"uint8": lambda: tiny_models.to_ir(uint8_onnx()), "float32": tiny_models.openvino},
    ),
}


@pytest.mark.parametrize(
    ("engine", "dtype"), [(engine, dtype) for engine in ENGINES for dtype in ENGINES[engine][1]]
)
def test_overhead(benchmark: Any, ledger: Any, engine: str, dtype: str) -> None:
    raw, models = ENGINES[engine]
    model = models[dtype]()
    with edgecv.Runtime(model, backend=engine) as runtime:
        [spec] = runtime.info.inputs
        assert spec.dtype == dtype
        rng = np.random.default_rng(0)
        array = (rng.random(spec.shape) * (1 if dtype == "float32" else 100)).astype(dtype)
        theirs = raw(model, array)
        [ours] = runtime.infer(array).values()
        assert np.array_equal(ours, np.asarray(theirs()))
        cost = calls_us(benchmark, lambda: runtime.infer(array), theirs, rounds=600, calls=30)
    row = Row(
        f"`.infer` over the raw call, {engine}, {dtype} input",
        cost.difference,
        "µs",
        7.0 if dtype == "float32" else 5.0,
        f"{cost.ours:.1f} against {cost.theirs:.1f} µs, quartiles of the difference"
        f" {cost.low:.1f} to {cost.high:.1f}",
        {"ours_us": cost.ours, "raw_us": cost.theirs, "low_us": cost.low, "high_us": cost.high},
    )
    ledger.add(row, benchmark)


def starts(benchmark: Any, folder: Path, rounds: int, *codes: str) -> list[list[float]]:
    """CPU milliseconds of fresh interpreters by code, in alternation."""
    spent: list[list[float]] = [[] for _ in codes]

    def one_round() -> None:
        for times, code in zip(spent, codes, strict=True):
            times.append(child(code, MODEL, folder=folder)[0])

    benchmark.pedantic(one_round, rounds=rounds, warmup_rounds=1)
    return [times[-rounds:] for times in spent]


def test_import(benchmark: Any, ledger: Any, tmp_path: Path) -> None:
    bare, ours = starts(benchmark, tmp_path, 40, "", "import edgecv")
    cost = paired(ours, bare)
    row = Row(
        "`import edgecv` over a bare interpreter",
        cost.difference,
        "ms",
        10.0,
        f"CPU time, {cost.ours:.1f} against {cost.theirs:.1f} ms",
        {"ours_cpu_ms": cost.ours, "bare_cpu_ms": cost.theirs},
    )
    ledger.add(row, benchmark)


def test_ready(benchmark: Any, ledger: Any, tmp_path: Path) -> None:
    bare, engine, ours = starts(
        benchmark,
        tmp_path,
        40,
        "",
        "import ai_edge_litert.interpreter",
        "import sys, edgecv; edgecv.Runtime(sys.argv[1])",
    )
    of_ours, of_engine = (paired(times, bare).difference for times in (ours, engine))
    row = Row(
        "`edgecv.Runtime` ready on LiteRT, over importing `ai_edge_litert.interpreter` alone",
        paired(ours, engine).ratio,
        "ratio",
        1.35,
        f"CPU time from the start of the process; without the interpreter's own"
        f" {of_ours:.0f} against {of_engine:.0f} ms",
        {"ours_less_bare_cpu_ms": of_ours, "engine_less_bare_cpu_ms": of_engine},
    )
    ledger.add(row, benchmark)


#: Runs the model ten times and prints its peak memory in KiB.
RUN = """
import sys
import numpy as np
import edgecv
with edgecv.Runtime(sys.argv[1]) as runtime:
    [spec] = runtime.info.inputs
    noise = np.random.default_rng(0).integers(-128, 128, spec.shape).astype(spec.dtype)
    for _ in range(10):
        runtime.infer(noise)
    print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""
RUN_RAW = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_content=open(sys.argv[1], "rb").read(), num_threads=1)
interpreter.allocate_tensors()
[spec] = interpreter.get_input_details()
noise = np.random.default_rng(0).integers(-128, 128, spec["shape"]).astype(spec["dtype"])
for _ in range(10):
    interpreter.set_tensor(spec["index"], noise)
    interpreter.invoke()
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


def test_memory(ledger: Any, tmp_path: Path) -> None:
    if "EDGECV_TEST_DATA" not in os.environ:
        pytest.skip("EDGECV_TEST_DATA is not set")
    model = Path(os.environ["EDGECV_TEST_DATA"]) / MOBILENET
    ours, raw = (
        max(int(child(code, model, folder=tmp_path)[1].split()[-1]) / 1024 for _ in range(3))
        for code in (RUN, RUN_RAW)
    )
    row = Row(
        "peak memory of a process that runs MobileNetV2 int8 (224 px, LiteRT)",
        ours,
        "MiB",
        70.0,
        f"the bare interpreter {raw:.0f} MiB",
        {"raw_mib": raw},
    )
    ledger.add(row)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        check=True, capture_output=True,
    )  # fmt: skip
    [built] = folder.glob("edgecv-*.whl")
    return built


@pytest.mark.parametrize("machine", SIZE_BARS)
def test_installation(ledger: Any, wheel: Path, tmp_path: Path, machine: str) -> None:
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(17, 35)]
    wanted = [
        option for tag in (*tags, f"manylinux2014_{machine}") for option in ("--platform", tag)
    ]
    command = [
        *(sys.executable, "-m", "pip", "install", "-q", "--no-compile", "--target", tmp_path / "site"),
        *("--only-binary=:all:", "-c", ROOT / ".ci" / "constraints.txt", *wanted),
        f"{wheel}[litert]",
    ]  # fmt: skip
    subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    sizes = {
        top.name: sum(f.stat().st_size for f in top.rglob("*") if f.is_file()) / 1e6
        for top in (tmp_path / "site").iterdir()
        if top.is_dir()
    }
    total = sum(sizes.values())
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:4]
    row = Row(
        f"the wheel with `[litert]` and its dependencies, {machine}, Python {platform.python_version()}",
        total,
        "MB",
        SIZE_BARS[machine],
        ", ".join(f"{name} {size:.0f}" for name, size in largest),
    )
    ledger.add(row)


def test_the_engines_are_there() -> None:
    """A benchmark without its yardstick must not pass for one."""
    for module in ("ai_edge_litert", "onnxruntime", "openvino"):
        assert importlib.util.find_spec(module) is not None, module
