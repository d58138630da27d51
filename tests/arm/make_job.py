"""What the boards run: made on this machine, with everything that takes torch and the converters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgecv.conversion import convert_all
from edgecv.models import create
from edgecv.quantize import calibrate, export_float, export_qdq, prepare_qat
from edgecv.selftest.bundle import MODELS, load_bundle
from edgecv.verify.teacher_forced import lessons
from edgecv_converters import convert_model

__all__ = ["make_job"]

_SIZE = (64, 64)
_PICTURES = 8


def make_job(folder: Path, data: Path | None) -> None:
    """Write models, lessons and ``job.json``.

    Args:
        folder: Empty.
        data: Models made by others, or None.
    """
    load_bundle().unpack(folder)
    engines = {"tflite": "litert", "openvino": "openvino", "onnx": "onnxruntime"}
    models: list[dict[str, Any]] = [
        {
            "name": f"digits/{engines[kind]}",
            "file": name,
            "backend": engines[kind],
            "pictures": _PICTURES,
        }
        for kind, name in MODELS.items()
    ]
    models.append({**models[-1], "name": "digits/onnxruntime/unoptimized", "optimize": False})
    qdq, plain = _mobilevit(folder)
    for source in (qdq, plain):
        for made in convert_all(source, list(engines), out=folder, verify=False):
            models.append(
                {
                    "name": f"mobilevit-{made.precision}/{engines[made.target]}",
                    "file": made.path.name,
                    "backend": engines[made.target],
                    "pictures": _PICTURES,
                    "labels": [str(number) for number in range(10)],
                    "preprocess": "unit",
                }
            )
    if data is not None:
        models += _of_others(folder, data)
    job = {"models": models, "lessons": [_lessons(folder, qdq)]}
    (folder / "job.json").write_text(json.dumps(job, indent=1))


def _mobilevit(folder: Path) -> tuple[Path, Path]:
    """A MobileViT with seeded weights, QDQ and float: the net with float islands."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    module = create("mobilevit_xxs", num_classes=10, size=_SIZE).module
    frames = torch.rand(8, 3, *_SIZE)
    module.train()
    with torch.no_grad():
        for _ in range(4):
            module(frames)
    qat = prepare_qat(module.eval(), input_size=_SIZE)
    calibrate(qat, [frames[:4]])
    sources = folder / "sources"
    sources.mkdir()
    qdq, plain = sources / "mobilevit.qdq.onnx", sources / "mobilevit.float.onnx"
    export_qdq(qat.eval(), qdq, input_size=_SIZE)
    export_float(module, plain, input_size=_SIZE)
    return qdq, plain


def _lessons(folder: Path, qdq: Path) -> dict[str, Any]:
    """Every tensor alone: a file, what goes in, what has to come out."""
    source = qdq.read_bytes()
    rng = np.random.default_rng(0)
    sample = {"input": rng.random((1, 3, *_SIZE), np.float32)}
    found = list(lessons(convert_model(source, "tflite").plan, source, [sample]))
    for number, lesson in enumerate(found):
        given = {f"given{k}": array for k, array in enumerate(lesson.given[0])}
        np.savez(
            folder / f"mobilevit-tensors.{number}.npz",
            model=np.frombuffer(lesson.tflite, np.uint8),
            wanted=lesson.wanted[0],
            **given,
        )
    return {"name": "mobilevit-tensors", "count": len(found)}


def _of_others(folder: Path, data: Path) -> list[dict[str, Any]]:
    """A model in unsigned integers: what the engine computes with other kernels on some cores."""
    name = "mobilenet_v1_0.25_128_quant.tflite"
    (folder / name).write_bytes((data / "models" / name).read_bytes())
    labels = [str(k) for k in range(1001)]
    return [
        {"name": "uint8/litert", "file": name, "backend": "litert", "pictures": 4, "labels": labels,
         "preprocess": "raw"}
    ]  # fmt: skip
