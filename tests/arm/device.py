"""Runs on the (emulated) board: models and pictures in, arrays out. NumPy, Pillow, edgecv and an engine.

``python device.py JOB OUT``: JOB is a folder with ``job.json``; OUT becomes an npz of arrays and
``OUT.json`` of facts. Nothing is judged here.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edgecv import artifact
from edgecv.errors import EdgecvError
from edgecv.preprocess import prepare
from edgecv.runtime import Runtime
from edgecv_runtimes.registry import choose


def pictures(height: int, width: int, count: int, seed: int = 123) -> np.ndarray[Any, Any]:
    """uint8 [count, height, width, 3] by integer arithmetic only: the same on every processor."""
    rng = np.random.RandomState(seed)
    made = []
    for _ in range(count):
        coarse = rng.randint(0, 256, ((height + 7) // 8, (width + 7) // 8, 3))
        fine = np.kron(coarse, np.ones((8, 8, 1), np.int64))[:height, :width]
        made.append(np.clip(fine + rng.randint(-20, 21, (height, width, 3)), 0, 255))
    return np.asarray(made).astype(np.uint8)


def run_model(row: dict[str, Any], folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Answers of one model to the same pictures everywhere, and what its engine executed."""
    path = folder / row["file"]
    options = {"labels": row["labels"], "preprocess": row["preprocess"]} if "labels" in row else {}
    with Runtime(path, backend=row["backend"], **options) as runtime:
        info = runtime.info
        [spec] = info.inputs
        height, width = spec.shape[1:3] if spec.layout == "NHWC" else spec.shape[2:4]
        frames = pictures(height, width, row["pictures"])
        scores = np.stack([runtime.scores(frame) for frame in frames])
        facts = {
            "precision": info.precision,
            "layers": [list(layer) for layer in runtime.executed_layers()],
            "version": info.backend_version,
        }
        if row.get("optimize") is False:
            # the graph as it stands: what two processors must agree on to the bit
            engine = choose(row["backend"], info.kind)
            bare: Any = engine(artifact.read(path), threads=1, optimize=False)
            name = spec.name
            feeds = [
                np.ascontiguousarray(
                    f.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
                )
                for f in frames
            ]
            scores = np.stack([next(iter(bare.infer({name: f}).values()))[0] for f in feeds])
    return {row["name"]: scores}, facts


def run_lessons(row: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Every tensor of a model from the reference's integers before it."""
    from edgecv_runtimes.quiet import import_litert

    engine = import_litert()
    found = {}
    for number in range(row["count"]):
        with np.load(folder / f"{row['name']}.{number}.npz", allow_pickle=False) as content:
            interpreter = engine.Interpreter(
                model_content=content["model"].tobytes(), num_threads=1
            )
            interpreter.allocate_tensors()
            for k, detail in enumerate(interpreter.get_input_details()):
                interpreter.set_tensor(detail["index"], content[f"given{k}"])
        interpreter.invoke()
        [detail] = interpreter.get_output_details()
        found[f"{row['name']}/{number}"] = interpreter.get_tensor(detail["index"])
    return found


def main() -> None:
    """Run the job."""
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    job = json.loads((folder / "job.json").read_text())
    arrays: dict[str, Any] = {}
    facts: dict[str, Any] = {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "errors": {},
    }
    large = pictures(120, 160, 3)
    pixels = hashlib.sha256()
    for interpolation in ("bicubic", "bilinear", "nearest"):
        for crop in (0.875, 1.0):
            wanted = artifact.Preprocess((48, 40), crop_fraction=crop, interpolation=interpolation)
            for picture in large:
                pixels.update(np.ascontiguousarray(prepare(picture, wanted)).tobytes())
    arrays["pixels"] = np.frombuffer(pixels.digest(), np.uint8)
    for row in job["models"]:
        try:
            made, facts[row["name"]] = run_model(row, folder)
            arrays |= made
        except EdgecvError as error:
            facts["errors"][row["name"]] = f"{type(error).__name__}: {error}"
    for row in job["lessons"]:
        arrays |= run_lessons(row, folder)
    np.savez(out, **arrays)
    out.with_suffix(".json").write_text(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
