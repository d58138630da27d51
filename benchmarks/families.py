"""Every family of nets, float and int8, ours and a stranger's, to every target: one table.

A row is a conversion with its verification: whether it passed, the largest difference of a tensor from
the reference's integers, what the delegate left outside, transposes, the share of multiply-accumulates in
int8, the time. Agreement is over noise, so that a low one is worth a look and a high one is no accuracy.

Run: ``python benchmarks/families.py --helpers tests/helpers`` (about ten minutes); ``--families resnet18``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from edgecv.conversion import convert_all
from edgecv.errors import EdgecvError

FAMILIES = {
    "resnet18": 96,
    "mobilenetv2_100": 96,
    "mobilenetv3_large_100": 96,
    "efficientnet_b0": 96,
    "efficientnet_lite0": 96,
    "mobilevit_xxs": 128,
}
TARGETS = ("tflite", "openvino", "onnx")


def sources(name: str, size: int, folder: Path) -> dict[str, Path]:
    """Float and QDQ ONNX by our exporter, and QDQ by onnxruntime's quantizer."""
    from exported import preprocessed, quantize_static, timm_onnx
    from integer_models import build, export

    qdq, plain = export(*build(name, size), folder / f"{name}_{size}")
    foreign = folder / f"{name}.foreign.qdq.onnx"
    work = folder / f"{name}-work"
    work.mkdir()
    exported = preprocessed(timm_onnx(name, size, fused_attention=False), work)
    foreign.write_bytes(quantize_static(exported, work, size))
    return {"float, ours": plain, "int8, ours": qdq, "int8, onnxruntime": foreign}


def convert(source: Path, target: str, out: Path) -> dict[str, Any]:
    """One cell of the table."""
    began = time.process_time()
    try:
        [made] = convert_all(source, [target], out=out, overwrite=True)
    except EdgecvError as error:
        return {"converts": False, "reason": str(error)}
    seconds = time.process_time() - began
    report = made.report
    gates = report.get("gates", {})
    tensors = [gates[g].get("values", gates[g]) for g in gates if g.startswith("tensors")]
    plan = made.plan.statistics()
    return {
        "converts": True,
        "verified": report.get("verified"),
        "gates": gates,
        "tensor_gates": tensors,
        "plan": plan,
        "left_out": len(made.manifest.left_out),
        "cpu_s_with_verification": round(seconds, 2),
        "warnings": report["warnings"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--helpers", type=Path, required=True, help="folder of the tests' helpers")
    parser.add_argument("--json", type=Path, help="write the record there")
    options = parser.parse_args()
    sys.path[:0] = [str(options.helpers), str(Path(__file__).parent)]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for family in options.families:
            for kind, source in sources(family, FAMILIES[family], folder).items():
                for target in TARGETS:
                    cell = convert(source, target, folder / "out")
                    rows.append({"family": family, "source": kind, "target": target, **cell})
                    print(line(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def line(row: dict[str, Any]) -> str:
    """A row of the Markdown table."""
    head = f"| {row['family']} | {row['source']} | {row['target']} |"
    if not row["converts"]:
        return f"{head} no: {row['reason'][:200]} |"
    details = "; ".join(
        f"{name}: {gate.get('detail', gate) if isinstance(gate, dict) else gate}"
        for name, gate in row["gates"].items()
        if name != "parameters"
    )
    verified = "yes" if row["verified"] else "no"
    return f"{head} {verified} | {details} | {row['cpu_s_with_verification']} |"


if __name__ == "__main__":
    main()
