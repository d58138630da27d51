"""Our converter beside the others that write TFLite: cost of converting, and speed of what comes out.

All tools get the same model, :func:`integer_models.build`'s: onnx2tf our ONNX files, litert-torch and
TinyNeuralNetwork timm's module with the same weights, and every tool that quantizes the same pictures.
Each conversion is a process of its own with its imports, one thread; the cheapest of ``--repeats`` counts,
except where one takes over a minute. Ours starts from the quantized file; what another tool spends on
quantizing is named where its steps can be told apart. Then all files that load are measured side by side by
the measuring core (a fresh process per file, blocks interleaved in random order, LiteRT, one thread). Times
of different models, and of different runs, are not comparable: only ratios within a model's block are.

Each tool runs in its own interpreter; one that is not named is not measured and listed as such:

    python benchmarks/rivals.py --onnx2tf PYTHON --litert-torch PYTHON --tinynn PYTHON:CHECKOUT --json rivals.json

``PYTHON`` has ``onnx2tf[tensorflow]``; ``litert-torch``, ``ai-edge-quantizer``, ``timm``; or
TinyNeuralNetwork's requirements and ``timm``, with a checkout of its repository. About 40 minutes.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from integer_models import build, conversion_cost, export

import edgecv
import edgecv_converters
from edgecv.bench import BenchOptions, Cell, run_cells
from edgecv.conversion import convert_all
from edgecv.errors import ModelLoadError
from edgecv.measure import Watch
from edgecv.models.attention import SplitAttention, join_attention_state
from edgecv.spec import dequantize, quantize
from edgecv.verify.litert import Interpreter

MODELS = ("mobilevit_xxs:128", "mobilevit_s:256", "resnet18:96", "resnet50:224")
SCRIPTS = Path(__file__).with_suffix("")
#: A conversion that takes longer is not repeated.
LONG_S = 60.0
OURS, OUR_FLOAT = "edgecv: our QDQ", "edgecv: float twin"

Record = dict[str, Any]


class Route(NamedTuple):
    """One way of one tool.

    Attributes:
        tool: Its option on the command line.
        name: For the script ``rivals/by_<tool>.py``.
        title: For the table.
    """

    tool: str
    name: str
    title: str


ROUTES = (
    Route("onnx2tf", "direct_qdq", "onnx2tf: direct writer, our QDQ"),
    Route("onnx2tf", "direct_int8", "onnx2tf: direct writer, its own int8"),
    Route("onnx2tf", "tensorflow_int8", "onnx2tf: TensorFlow's converter, int8"),
    Route("litert_torch", "static_wi8_ai8", "litert-torch + ai-edge-quantizer"),
    Route("tinynn", "stock", "TinyNeuralNetwork: stock model"),
    Route("tinynn", "rewritten", "TinyNeuralNetwork: model rewritten"),
)


class Net(NamedTuple):
    """A model in all forms, in one folder."""

    arch: str
    qdq: Path
    plain: Path
    weights: Path
    pictures: Path


def make(model: str, folder: Path) -> Net:
    """Both ONNX files, timm's state dict and the calibration pictures of ``NAME:SIZE``."""
    arch, _, size = model.partition(":")
    module, pictures = build(arch, int(size))
    qdq, plain = export(module, pictures, folder / arch)
    head_dims = {
        path: layer.q.out_features // layer.heads
        for path, layer in module.named_modules()
        if isinstance(layer, SplitAttention)
    }
    net = Net(arch, qdq, plain, folder / "weights.pt", folder / "pictures.npy")
    torch.save(join_attention_state(module.state_dict(), head_dims), net.weights)
    # as many as our quantizers saw
    np.save(net.pictures, pictures[:4].numpy())
    return net


def convert(route: Route, interpreter: str, net: Net, out: Path, limit_s: float) -> Record:
    """One conversion in a fresh process: its cost and, where it failed, why."""
    python, _, checkout = interpreter.partition(":")
    folder = out.with_suffix("")
    folder.mkdir()
    paths = {
        name: str(folder / path.name) for name, path in net._asdict().items() if name != "arch"
    }
    for name, copied in paths.items():
        shutil.copy(getattr(net, name), copied)  # onnx2tf overwrites its input
    made, report = folder / "made.tflite", folder / "report.json"
    job = {"arch": net.arch, "route": route.name, **paths, "out": str(made), "report": str(report)}
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    script = str(SCRIPTS / f"by_{route.tool}.py")
    try:
        done = subprocess.run(
            [python, script, str(folder / "job.json"), *filter(None, [checkout])],
            capture_output=True, text=True, errors="replace", cwd=folder, timeout=limit_s,
            env=_environment(folder), check=False,
        )  # fmt: skip
        error = None if done.returncode == 0 else _cause(done.stderr, done.returncode)
    except subprocess.TimeoutExpired:
        error = f"stopped after {limit_s:g} s"
    record: Record = json.loads(report.read_text(encoding="utf-8")) if report.is_file() else {}
    record["error"] = error and error[:300]
    if made.is_file():
        made.rename(out)
    shutil.rmtree(folder)
    return record


def cheapest(
    route: Route, interpreter: str, net: Net, out: Path, options: argparse.Namespace
) -> Record:
    """The cheapest of some conversions; of a failing or a long one, the first."""
    best: Record = {}
    for _ in range(options.repeats):
        record = convert(route, interpreter, net, out, options.limit)
        if not best or record.get("cpu_s", np.inf) < best.get("cpu_s", np.inf):
            best = record
        if record["error"] or record.get("cpu_s", 0.0) > LONG_S:
            break
    return best


def _cause(said: str, code: int) -> str:
    """The first exception of a chain: the others say that something failed."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)]
    return (raised or lines[-1:] or [f"exit code {code}"])[0]


def _environment(home: Path) -> dict[str, str]:
    """One thread, bytecode kept, nothing of ours in the path, and a home that is thrown away."""
    dropped = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")
    pools = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | dict.fromkeys(pools, "1") | {"HOME": str(home), "TF_CPP_MIN_LOG_LEVEL": "3"}


def look(path: Path, pictures: npt.NDArray[Any], expected: npt.NDArray[Any]) -> Record:
    """What LiteRT makes of a file: operators, what runs outside XNNPACK, arithmetic, the answers."""
    try:
        engine = Interpreter(path.read_bytes())
        counted = engine.delegation()
    except ModelLoadError as error:
        return {"loads": False, "load_error": error.what[:300]}
    total = sum(product.macs for product in counted.products)
    integer = sum(product.macs for product in counted.products if product.integer)
    found = answers(engine, pictures)
    noise = float(((found - expected) ** 2).sum())
    return {
        "loads": True,
        "operators": counted.operators,
        "partitions": counted.partitions,
        "outside": dict(Counter(one.operator for one in counted.outside)),
        "int8_share": integer / total,
        "sqnr_db": 10 * np.log10(float((expected**2).sum()) / noise) if noise else None,
        "bytes": path.stat().st_size,
    }


def answers(engine: Interpreter, pictures: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Logits float32 [N, classes] of *pictures*, float32 [N, 3, H, W] in [0, 1]."""
    (given,), (result,) = engine.inputs, engine.outputs
    rows = []
    for picture in pictures:
        array = picture[None]
        if given.shape[-1] == 3:
            array = array.transpose(0, 2, 3, 1)
        if given.quantization is not None:
            array = quantize(array, given.quantization)
        (row,) = engine.run([array])
        rows.append(row if result.quantization is None else dequantize(row, result.quantization))
    return np.concatenate(rows).astype(np.float32)


def measure(
    model: str, tools: Mapping[str, str], options: argparse.Namespace, folder: Path
) -> list[Record]:
    """Every route on one model, ours first."""
    watch = Watch(bytecode=False)  # all of it is compiled beforehand, or by pip
    net = make(model, folder)
    files: dict[str, Path] = {}
    for title, source in ((OURS, net.qdq), (OUR_FLOAT, net.plain)):
        files[title] = convert_all(source, ["tflite"], out=folder / "ours", verify=False)[0].path
    records: list[Record] = [{"route": OURS, "error": None, **conversion_cost(net.qdq)}]
    records.append({"route": OUR_FLOAT, "error": None, **conversion_cost(net.plain)})
    for route in ROUTES:
        if interpreter := tools.get(route.tool):
            _say(f"{model}: {route.title}")
            files[route.title] = folder / f"{route.tool}_{route.name}.tflite"
            cost = cheapest(route, interpreter, net, files[route.title], options)
            records.append({"route": route.title, **cost})
    converted = watch.validity()
    pictures = np.load(net.pictures)
    expected = answers(Interpreter(files[OUR_FLOAT].read_bytes()), pictures)
    for record in records:
        if files[record["route"]].is_file():
            record |= look(files[record["route"]], pictures, expected)
        record |= {"model": model, "cost_valid": converted.valid, "cost_reasons": converted.reasons}
    _say(f"{model}: latency")
    time_files(records, files, options)
    return records


def time_files(
    records: list[Record], files: Mapping[str, Path], options: argparse.Namespace
) -> None:
    """Latency of all files that load, in one run; ratios to our integer file and to its float twin."""
    loaded = [r for r in records if r.get("loads")]
    cells = [Cell(r["route"], files[r["route"]], "litert") for r in loaded]
    result = run_cells(cells, BenchOptions(max_seconds=options.seconds))
    p50 = {one.cell.name: one.p50.value for one in result.records}
    # for a machine that is not quiet: the median of the least disturbed block
    best = {one.cell.name: min(one.block_p50_ms) for one in result.records}
    for record in loaded:
        route = record["route"]
        record |= {"p50_ms": p50[route], "over_ours": p50[route] / p50[OURS]}
        record |= {"over_float": p50[route] / p50[OUR_FLOAT], "best_block_ms": best[route]}
        record |= {"latency_valid": result.valid, "latency_reasons": result.reasons}


def table(records: Sequence[Record]) -> str:
    """Markdown, one block of rows per model."""
    head = (
        "| model | tool | CPU s | of it quantizing | peak MB | operators / partitions / outside XNNPACK |"
        " MACs in int8 | SQNR dB | p50 ms | over ours | over float |"
    )
    return "\n".join([head, "|---|---|---|---|---|---|---|---|---|---|---|", *map(_row, records)])


def _row(r: Record) -> str:
    quantizing = r.get("stages", {}).get("quantize")
    cost = [
        _number(r.get("cpu_s"), ".2f"),
        _number(quantizing, ".2f"),
        _number(r.get("rss_mb"), ".0f"),
    ]
    if r["error"]:
        rest = [f"fails: {r['error']}", *[""] * 5]
    elif not r.get("loads"):
        rest = [f"does not load: {r.get('load_error', 'no file')}", *[""] * 5]
    else:
        outside = sum(r["outside"].values())
        rest = [
            f"{r['operators']} / {r['partitions']} / {outside}",
            f"{r['int8_share']:.0%}",
            _number(r["sqnr_db"], ".1f"),
            _number(r["p50_ms"], ".3f"),
            _number(r["over_ours"], ".2f"),
            _number(r["over_float"], ".2f"),
        ]
    cells = [r["model"], r["route"], *cost, *rest]
    return "| " + " | ".join(" ".join(cell.replace("|", "/").split()) for cell in cells) + " |"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def remarks(records: Sequence[Record], tools: Mapping[str, str]) -> list[str]:
    """What was not measured, versions, and every reason why a figure cannot be trusted."""
    lines = [f"Not measured: {route.title}." for route in ROUTES if route.tool not in tools]
    versions = {name: v for record in records for name, v in record.get("versions", {}).items()}
    lines += ["Versions: " + ", ".join(f"{n} {v}" for n, v in sorted(versions.items()))]
    for kind in ("cost", "latency"):
        said = sorted({f"{r['model']}: {x}" for r in records for x in r.get(f"{kind}_reasons", ())})
        lines += [f"{kind} valid: {not said}", *(f"  {line}" for line in said)]
    return lines


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--onnx2tf", metavar="PYTHON")
    parser.add_argument("--litert-torch", metavar="PYTHON")
    parser.add_argument("--tinynn", metavar="PYTHON:CHECKOUT")
    parser.add_argument("--models", nargs="+", default=list(MODELS), metavar="NAME:SIZE")
    parser.add_argument("--repeats", type=int, default=3, help="conversions per route")
    parser.add_argument("--seconds", type=float, default=6.0, help="timed part per file")
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds for one conversion")
    parser.add_argument("--json", type=Path, help="write the records there")
    options = parser.parse_args()
    given = {tool: getattr(options, tool) for tool in ("onnx2tf", "litert_torch", "tinynn")}
    tools = {tool: interpreter for tool, interpreter in given.items() if interpreter}
    torch.set_num_threads(1)
    packages = [Path(str(package.__file__)).parent for package in (edgecv, edgecv_converters)]
    checkouts = [Path(i.partition(":")[2]) / "tinynn" for i in tools.values() if ":" in i]
    for folder in packages:
        compileall.compile_dir(str(folder), quiet=1)
    for folder in checkouts:
        python = tools["tinynn"].partition(":")[0]
        subprocess.run([python, "-m", "compileall", "-q", str(folder)], check=False)
    records: list[Record] = []
    for model in options.models:
        with tempfile.TemporaryDirectory() as name:
            records += measure(model, tools, options, Path(name))
        if options.json:
            options.json.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    print(table(records))
    print(*remarks(records, tools), sep="\n")


if __name__ == "__main__":
    main()
