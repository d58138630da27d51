"""Pictures of others, scored once by models of others, clean and corrupted; kept in a work folder.

CIFAR-10 (its JPEG copies) with MLPerf Tiny's ResNet-8 is what the estimator was developed on. Imagenette with
MobileNetV2 was held out: nothing was tuned on it; so was a model that ``edgecv train`` made of Imagenette's
training split (``run.py --trained``). Reference and judged pictures never overlap; corruptions of
the judged ones have random numbers of their own.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgecv import artifact
from edgecv.data import scan
from edgecv.data.model import Item
from edgecv.drift.making import _LEAST_FLOAT
from edgecv.drift.tables import Pictures, Table, measure_tables
from edgecv.errors import InputError
from edgecv.foreign import resolve
from edgecv.foreign.adopt import adopted_manifest, sealed
from edgecv.preprocess import load_rgb
from edgecv.runtime import Runtime
from edgecv.stats.calibration import probabilities

Array = np.ndarray[Any, Any]
CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MODELS = {
    "cifar": ("pretrainedResnet_quant.tflite", "raw"),
    "imagenette": ("tf2_mobilenet_v2_1.0_224_ptq.tflite", "signed"),
}
#: A model of ours whose manifest names the classes, see :func:`trained_folder`.
TRAINED = "trained"


@dataclass(frozen=True)
class Scored:
    """Pictures of one split under all conditions.

    Attributes:
        pictures: Labels, groups and what a probability of 0 stands for; nothing can be loaded any more.
        tables: Clean first.
        signatures: As :func:`edgecv.drift.tables.measure_tables` gives them.
    """

    pictures: Pictures
    tables: list[Table]
    signatures: dict[str, Array]


def data_folder() -> Path:
    """``EDGECV_TEST_DATA``."""
    value = os.environ.get("EDGECV_TEST_DATA")
    if not value or not Path(value).is_dir():
        raise InputError(
            f"EDGECV_TEST_DATA is {value!r}", cure="Set it to the folder of outside data."
        )
    return Path(value)


def trained_folder(source: Path, work: Path) -> Path:
    """A work folder of its own for *source* and what is scored with it."""
    data = source.read_bytes()
    folder = work / f"{TRAINED}-{hashlib.sha256(data).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{TRAINED}.tflite").write_bytes(data)
    return folder


def model(name: str, work: Path) -> Path:
    """A model with labels and preprocessing inside; of others', made once."""
    if name == TRAINED:
        return work / f"{TRAINED}.tflite"
    file, preprocess = MODELS[name]
    out = work / f"{name}.tflite"
    if out.exists():
        return out
    source = data_folder() / "models" / file
    labels = work / "labels.txt"
    if name == "cifar":
        labels.write_text("\n".join(CIFAR))
    else:
        labels.write_text((data_folder() / "models" / "imagenet_labels.txt").read_text())
    read = artifact.read(source)
    with Runtime(source) as runtime:
        info = runtime.info
    reading = resolve(read, info.inputs, info.outputs, labels, preprocess)
    manifest = adopted_manifest(
        read, info.inputs, info.outputs, reading, score_kind="probability", version="benchmark"
    )
    artifact.write_atomically(out, sealed(read, manifest, own_labels=True))
    return out


def labeled(name: str, split: str, labels: tuple[str, ...] = ()) -> tuple[list[Item], Array]:
    """Pictures of a split and their output indices; *labels* are the trained model's."""
    folder = "cifar10_jpg" if name == "cifar" else "imagenette10"
    dataset = scan(data_folder() / "datasets" / folder)
    items = list(dataset.of(split))
    if name == "cifar":
        index = {c: CIFAR.index(c) for c in dataset.classes}
    elif name == TRAINED:
        index = {c: labels.index(c) for c in dataset.classes}
    else:
        rows = json.loads((data_folder() / "datasets" / folder / "classes.json").read_text())
        # the model's first output is "background"
        index = {row["name"]: row["imagenet_index"] + 1 for row in rows}
    return items, np.array([index[dataset.classes[item.label]] for item in items], np.int64)


def scorer(runtime: Runtime) -> tuple[Any, float]:
    """Frame to probabilities, and what a 0 stands for."""
    kind, grid = runtime.info.score_kind, runtime.info.outputs[0].quantization
    assert kind is not None

    def score(frame: Array) -> Array:
        return probabilities(runtime.scores(frame)[None], kind)[0].astype(np.float32)

    is_probability = kind == "probability" and grid is not None
    return score, grid.scale / 2 if is_probability and grid is not None else _LEAST_FLOAT


def scored(
    name: str, split: str, work: Path, *, most: int, per_condition: int, seed: int, skip: int = 0
) -> Scored:
    """Score pictures, or read what was scored before.

    Args:
        name: ``"cifar"``, ``"imagenette"`` or :data:`TRAINED`.
        split: Of the data set.
        work: Folder of what is kept.
        most: Pictures, drawn by chance.
        per_condition: Pictures under each corruption.
        seed: Of the corruptions.
        skip: Pictures of the same drawing that are left out before.
    """
    kept = work / f"{name}-{split}-{skip}-{most}-{per_condition}-{seed}.npz"
    if kept.exists():
        return _read(kept)
    with Runtime(model(name, work)) as runtime:
        items, labels = labeled(name, split, runtime.info.labels or ())
        order = np.random.default_rng(1).permutation(len(items))[skip : skip + most]
        chosen, truth = [items[i] for i in order], labels[order]
        score, least = scorer(runtime)
        groups = np.array([f"{split}/{item.path.name}" for item in chosen])
        pictures = Pictures(lambda i: load_rgb(chosen[i].path), truth, groups, score, least)
        began = time.monotonic()

        def told(done: int, total: int) -> None:
            if done % 200 == 0:
                seconds = time.monotonic() - began
                print(f"  {kept.name}: {done} of {total}, {seconds:.0f} s", file=sys.stderr)

        tables, signatures = measure_tables(
            pictures, per_condition=per_condition, seed=seed, progress=told
        )
    found = Scored(pictures, tables, signatures)
    _write(kept, found)
    return found


def _write(path: Path, found: Scored) -> None:
    arrays: dict[str, Array] = {
        "labels": found.pictures.labels,
        "groups": found.pictures.groups,
        "least": np.array(found.pictures.least),
        "names": np.array([t.family for t in found.tables]),
        "severities": np.array([t.severity for t in found.tables]),
    }
    for k, table in enumerate(found.tables):
        arrays |= {f"p{k}": table.pictures, f"s{k}": table.scores, f"q{k}": table.quality}
    arrays |= {f"signature {name}": rows for name, rows in found.signatures.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)


def _read(path: Path) -> Scored:
    with np.load(path) as kept:
        tables = [
            Table(str(name), int(severity), kept[f"p{k}"], kept[f"s{k}"], kept[f"q{k}"])
            for k, (name, severity) in enumerate(
                zip(kept["names"], kept["severities"], strict=True)
            )
        ]
        signatures = {
            key.removeprefix("signature "): kept[key]
            for key in kept.files
            if key.startswith("signature ")
        }
        pictures = Pictures(_gone, kept["labels"], kept["groups"], _gone, float(kept["least"]))
    return Scored(pictures, tables, signatures)


def _gone(_: Any) -> Any:
    raise AssertionError("pictures that were read back are numbers only")
