"""Cost of a conversion, and what int8 gains over its float twin on every engine.

Models have seeded random weights with trained-looking normalizations: time does not depend on the values.
Conversion runs in a fresh process with its imports, bytecode compiled, without verification. Latencies
come from the measuring core (fresh process per file, blocks interleaved in random order, one thread); a ratio
is the median over rounds of blocks.

Run: ``python benchmarks/integer_models.py`` (about six minutes); ``--models mobilevit_xxs:128`` for one;
``--record`` for the page of benchmarks.
"""

from __future__ import annotations

import argparse
import compileall
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import Row, write
from torch import nn

import edgecv
import edgecv_converters
from edgecv.bench import BenchOptions, Cell, run_cells
from edgecv.conversion import convert_all
from edgecv.measure import Watch
from edgecv.models import create
from edgecv.quantize import calibrate, export_float, export_qdq, prepare_qat

#: Model → what its conversion may cost: CPU seconds, peak megabytes.
MODELS: dict[str, tuple[float, float] | None] = {
    "mobilevit_xxs:128": (0.8, 140.0),
    "mobilevit_xxs:256": None,
    "mobilevit_s:256": (1.3, 380.0),
    "resnet18:224": None,
    "resnet50:224": (1.0, 360.0),
}
#: int8 over its float twin, on a processor with VNNI.
SPEED_BARS = {
    ("mobilevit_xxs:128", "tflite"): 0.50,
    ("mobilevit_xxs:256", "tflite"): 0.56,
    ("mobilevit_xxs:256", "openvino"): 0.9,
    ("mobilevit_xxs:256", "onnx"): 1.08,
    ("mobilevit_s:256", "tflite"): 0.42,
    ("resnet18:224", "tflite"): 0.27,
    ("resnet50:224", "tflite"): 0.34,
}
ENGINES = {"tflite": "litert", "openvino": "openvino", "onnx": "onnxruntime"}
#: Of blocks, each file once in each: the ratio is the median of those of the rounds.
ROUNDS = 24
#: Printed by the process that converts: CPU seconds, peak resident MB, operators.
CONVERT = """
import resource, sys
from pathlib import Path
from edgecv_converters import convert_model
made = convert_model(Path(sys.argv[1]).read_bytes(), "tflite")
Path(sys.argv[2]).write_bytes(made.files[".tflite"])
used = resource.getrusage(resource.RUSAGE_SELF)
# ru_maxrss keeps the parent's peak across fork and exec
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(used.ru_utime + used.ru_stime, int(peak.split()[1]) / 1024, len(made.plan.ops))
"""


def build(name: str, size: int) -> tuple[nn.Module, torch.Tensor]:
    """A model with plausible random weights, in eval mode, and eight noise pictures [8, 3, H, W]."""
    generator = torch.Generator().manual_seed(0)
    module = create(name, num_classes=10, size=(size, size)).module
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.LayerNorm):
            nn.init.uniform_(layer.weight, 0.5, 1.5, generator=generator)
            nn.init.uniform_(layer.bias, -0.3, 0.3, generator=generator)
    pictures = torch.rand(8, 3, size, size, generator=generator)
    module.train()
    with torch.no_grad():
        for _ in range(4):
            module(pictures)
    return module.eval(), pictures


def export(module: nn.Module, pictures: torch.Tensor, stem: Path) -> tuple[Path, Path]:
    """QDQ ONNX, calibrated on the first four *pictures*, and float ONNX of *module*."""
    size = (int(pictures.shape[2]), int(pictures.shape[3]))
    qat = prepare_qat(module, input_size=size)
    calibrate(qat, [pictures[:4]])
    qdq, plain = (stem.with_name(f"{stem.name}.{kind}.onnx") for kind in ("qdq", "float"))
    export_qdq(qat.eval(), qdq, input_size=size)
    export_float(module, plain, input_size=size)
    return qdq, plain


def conversion_cost(qdq: Path) -> dict[str, float]:
    """The cheaper of three fresh processes."""
    best: dict[str, float] = {}
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", CONVERT, str(qdq), str(qdq.with_suffix(".tmp"))],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        cpu, megabytes, operators = map(float, done.stdout.split())
        if not best or cpu < best["cpu_s"]:
            best = {"cpu_s": cpu, "rss_mb": megabytes, "operators": operators}
    return best


def rows_of(record: dict[str, Any]) -> list[Row]:
    """What the page of benchmarks shows of one model."""
    model, cost = record["model"], record["convert"]
    bars = MODELS.get(model) or (None, None)
    rows = [
        Row(f"converting {model} to TFLite, fresh process with imports", cost["cpu_s"], "s", bars[0], "CPU time"),
        Row(f"converting {model}, peak memory", cost["rss_mb"], "MB", bars[1]),
    ]  # fmt: skip
    for target, engine in ENGINES.items():
        times = [record["p50_ms"][f"{target} {kind}"] for kind in ("int8", "float32")]
        best = [record["best_ms"][f"{target} {kind}"] for kind in ("int8", "float32")]
        note = (
            f"{times[0]:.2f} ms against {times[1]:.2f}; best blocks {best[0]:.2f} against"
            f" {best[1]:.2f}: {best[0] / best[1]:.2f}"
        )
        if not record["valid"]:
            note += f"; disturbed: {' '.join(record['reasons'])}"
        rows.append(
            Row(
                f"{model}, int8 over its float twin, {engine}",
                record["int8_over_float"][target],
                "ratio",
                SPEED_BARS.get((model, target)),
                note,
                {"int8_ms": times[0], "float_ms": times[1]},
            )
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(MODELS), metavar="NAME:SIZE")
    parser.add_argument("--seconds", type=float, default=6.0, help="timed part per file")
    parser.add_argument("--json", type=Path, help="write everything there")
    parser.add_argument(
        "--record", action="store_true", help="write a record into benchmarks/records"
    )
    options = parser.parse_args()
    watch = Watch(bytecode=False)
    torch.set_num_threads(1)
    for package in (edgecv, edgecv_converters):
        compileall.compile_dir(str(Path(str(package.__file__)).parent), quiet=1)
    records: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for model in options.models:
            arch, _, size = model.partition(":")
            qdq, plain = export(*build(arch, int(size)), folder / f"{arch}_{size}")
            record: dict[str, Any] = {"model": model, "convert": conversion_cost(qdq)}
            made = [
                convert_all(f, list(ENGINES), out=folder / "out", verify=False)
                for f in (qdq, plain)
            ]
            cells = [
                Cell(f"{r.target} {r.precision}", r.path, ENGINES[r.target])
                for group in made
                for r in group
            ]
            result = run_cells(cells, BenchOptions(max_seconds=options.seconds, blocks=ROUNDS))
            blocks = {r.cell.name: np.asarray(r.block_p50_ms) for r in result.records}
            record["p50_ms"] = {r.cell.name: r.p50.value for r in result.records}
            record["best_ms"] = {name: float(times.min()) for name, times in blocks.items()}
            # within a round: a machine that others share slows down for seconds at a time
            record["int8_over_float"] = {
                t: float(np.median(blocks[f"{t} int8"] / blocks[f"{t} float32"])) for t in ENGINES
            }
            record["valid"], record["reasons"] = result.valid, list(result.reasons)
            records.append(record)
            print(json.dumps(record), flush=True)
    if options.record:
        rows = [row for record in records for row in rows_of(record)]
        folder = Path(__file__).parent / "records"
        write(folder, "integer_models", "python benchmarks/integer_models.py --record", rows, watch)
    if options.json:
        options.json.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
