"""``export_run``: the float and the QDQ ONNX file of a run, with their manifests inside."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn
from torch.fx import GraphModule

from edgecv.artifact import replace_all, seal_file
from edgecv.artifact.manifest import Manifest, Preprocess, QuantizerRecord
from edgecv.data import Dataset, batches_digest, fingerprint, load_json
from edgecv.errors import InputError
from edgecv.models import CreatedModel, create, load_into, read_state_dict
from edgecv.quantize import export_float, export_qdq, prepare_qat
from edgecv.spec import TensorSpec
from edgecv.train.folder import RunFolder
from edgecv.train.loop import calibration_batches
from edgecv.train.recipe import Recipe
from edgecv.train.torch_data import Pictures
from edgecv_converters.ptq import quantize_onnx, quantizers_of_qdq

__all__ = [
    "ExportedRun",
    "about_run",
    "export_run",
    "load_float_model",
    "load_qat_model",
    "write_exports",
]

_TOOLS = ("edgecv", "torch", "timm", "onnx")


@dataclass(frozen=True)
class ExportedRun:
    """The two ONNX files of a run.

    Attributes:
        float_onnx: The float model, BatchNorm folded.
        qdq_onnx: With explicit quantization.
        method: ``"qat"``, or ``"ptq"`` when the model was quantized after training.
        quantizers: Activation quantizers of the QDQ file.
    """

    float_onnx: Path
    qdq_onnx: Path
    method: str
    quantizers: int


def export_run(
    run: str | Path,
    *,
    method: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> ExportedRun:
    """Write ``model.float.onnx`` and ``model.qdq.onnx``.

    Args:
        run: Folder that :func:`~edgecv.train.train_run` made.
        method: ``"qat"`` or ``"ptq"``; by default QAT when the run has it. Post-training
            quantization calibrates on the run's training pictures (min-max).
        out: Folder for the files; by default the run folder.
        overwrite: Replace files that exist.

    Raises:
        InputError: No finished run, files that exist, or pictures that moved away.
    """
    folder = RunFolder(run).existing()
    recipe, dataset = Recipe.load(folder.recipe), load_json(folder.data)
    made, module = _float_model(folder, recipe, dataset)
    preprocess = recipe.preprocess(made.preprocess)
    method = method or ("qat" if folder.qat_weights.is_file() else "ptq")
    about = about_run(dataset, preprocess)
    target = RunFolder(out or run)
    if method == "qat":
        qat = load_qat_model(run)
        return write_exports(module, qat, about, target, overwrite=overwrite)
    pictures = Pictures(dataset.of("train"), preprocess)
    calibration = [batch.numpy() for batch in calibration_batches(pictures, recipe)]
    return write_exports(module, calibration, about, target, overwrite=overwrite)


def about_run(dataset: Dataset, preprocess: Preprocess) -> Manifest:
    """What every file of a run says alike: labels, preprocessing, training data."""
    return Manifest(
        labels=dataset.classes,
        preprocess=preprocess,
        inputs=(),
        outputs=(),
        precision="float32",
        training_data={"fingerprint": fingerprint(dataset), "pictures": len(dataset.of("train"))},
    )


def load_float_model(run: str | Path) -> nn.Module:
    """The float model of a run, in evaluation mode.

    Raises:
        InputError: The run is not finished.
    """
    folder = RunFolder(run).existing()
    return _float_model(folder, Recipe.load(folder.recipe), load_json(folder.data))[1]


def load_qat_model(run: str | Path) -> GraphModule:
    """The quantization-aware model of a run, in evaluation mode.

    Raises:
        InputError: The run was trained without QAT or is not finished.
    """
    folder = RunFolder(run).existing()
    if not folder.qat_weights.is_file():
        raise InputError(f"'{folder.path}' was trained without QAT", cure="Train with --qat.")
    recipe, dataset = Recipe.load(folder.recipe), load_json(folder.data)
    made = _create(recipe, dataset)
    size = recipe.preprocess(made.preprocess).size
    qat = prepare_qat(made.module.eval(), input_size=size, bits=recipe.bits, dropout=False)
    load_into(qat, read_state_dict(folder.qat_weights), str(folder.qat_weights))
    return qat.eval()


def write_exports(
    module: nn.Module,
    quantized: GraphModule | list[npt.NDArray[np.float32]],
    about: Manifest,
    target: RunFolder,
    *,
    overwrite: bool,
) -> ExportedRun:
    """Write both files to a temporary place, seal their manifests, rename them.

    Args:
        module: The float model.
        quantized: The quantization-aware model, or calibration batches [N, 3, H, W] for
            post-training quantization.
        about: Labels, preprocessing and training data.
        target: Where the files go.
        overwrite: Replace files that exist.

    Raises:
        InputError: A file exists.
    """
    finals = (target.float_onnx, target.qdq_onnx)
    for final in finals:
        if final.exists() and not overwrite:
            raise InputError(f"'{final}' exists", cure="Use --overwrite, or another --out.")
    assert about.preprocess is not None
    size = about.preprocess.size
    made_folder = not target.path.exists()
    target.path.mkdir(parents=True, exist_ok=True)
    work = RunFolder(tempfile.mkdtemp(prefix=".edgecv-export-", dir=target.path))
    try:
        export_float(module, work.float_onnx, input_size=size)
        if isinstance(quantized, GraphModule):
            method = "qat"
            export_qdq(quantized, work.qdq_onnx, input_size=size)
        else:
            method = "ptq"
            work.qdq_onnx.write_bytes(quantize_onnx(work.float_onnx.read_bytes(), quantized))
        records = quantizers_of_qdq(work.qdq_onnx.read_bytes())
        seal_file(work.float_onnx, _manifest(about, size, "float32"))
        calibration = {"method": method, **_calibration(quantized, about)}
        seal_file(work.qdq_onnx, _manifest(about, size, "int8", records, calibration))
        replace_all({work.float_onnx: target.float_onnx, work.qdq_onnx: target.qdq_onnx})
    except BaseException:
        if made_folder:
            target.discard()
        raise
    finally:
        shutil.rmtree(work.path, ignore_errors=True)
    return ExportedRun(*finals, method, len(records))


def _float_model(
    folder: RunFolder, recipe: Recipe, dataset: Dataset
) -> tuple[CreatedModel, nn.Module]:
    made = _create(recipe, dataset)
    load_into(made.module, read_state_dict(folder.float_weights), str(folder.float_weights))
    return made, made.module.eval()


def _create(recipe: Recipe, dataset: Dataset) -> CreatedModel:
    """The architecture of a run; its weights come from the run, not from the recipe's start."""
    return create(
        recipe.model,
        num_classes=len(dataset.classes),
        size=recipe.size,
        normalize=recipe.normalize,
        seed=recipe.seed,
    )


def _calibration(
    quantized: GraphModule | list[npt.NDArray[np.float32]], about: Manifest
) -> dict[str, Any]:
    """What set the ranges: the training data, or the very pixels of the calibration."""
    if isinstance(quantized, GraphModule):
        data = about.training_data or {}
        return {"pictures": data.get("pictures"), "digest": data.get("fingerprint")}
    return {"pictures": sum(map(len, quantized)), "digest": batches_digest(quantized)}


def _manifest(
    about: Manifest,
    size: tuple[int, int],
    precision: str,
    quantizers: Iterable[QuantizerRecord] = (),
    calibration: dict[str, Any] | None = None,
) -> Manifest:
    return replace(
        about,
        precision=precision,
        inputs=(TensorSpec("input", (1, 3, *size), "float32", "NCHW"),),
        outputs=(TensorSpec("logits", (1, len(about.labels)), "float32", "NC"),),
        quantizers=tuple(quantizers),
        calibration=calibration,
        tools={name: version(name) for name in _TOOLS},
    )
