"""The demo step by step: draw, train, export, convert, evaluate, measure, report."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecv.artifact.manifest import Preprocess
from edgecv.bench import BenchOptions, BenchResult, Cell, CellRecord, run_cells
from edgecv.conversion import convert_all
from edgecv.data import Item, load_json, scan
from edgecv.demo.gates import Gate, int8_gates
from edgecv.demo.pictures import DEMO_PREPROCESS, PictureOptions, draw_tree
from edgecv.demo.references import References, torch_references
from edgecv.errors import UnsupportedError
from edgecv.evaluate import (
    Evaluation,
    PairedComparison,
    PixelCache,
    compare,
    evaluate,
)
from edgecv.report import (
    BackendRecord,
    FileRecord,
    Latency,
    MethodRow,
    Report,
    Validity,
    agreement,
    class_rows,
    confusion,
    write_html,
    write_json,
)
from edgecv.results import ConversionResult
from edgecv.runtime import Runtime
from edgecv.train import Recipe, export_run, train_run

__all__ = ["DemoOptions", "DemoResult", "run_demo"]

Say = Callable[[str], None]

#: Target → engine that runs it, in the order of the report.
ENGINES = {"tflite": "litert", "openvino": "openvino", "onnx": "onnxruntime"}
#: Model → preprocessing, drawings of each training digit, and what the recipe changes.
DEMO_MODELS: dict[str, tuple[Preprocess, int, dict[str, Any]]] = {
    "resnet10_micro": (DEMO_PREPROCESS, 6, {"epochs": 14, "qat_epochs": 3}),
    # the patches of MobileViT need multiples of 64 pixels; the crop shows the same part of a picture
    "mobilevit_xxs": (
        dataclasses.replace(DEMO_PREPROCESS, size=(64, 64), resize="stretch"),
        4,
        {"epochs": 12, "qat_epochs": 2, "batch_size": 32, "lr": 1e-3},
    ),
}


@dataclass(frozen=True)
class DemoOptions:
    """What the demo does.

    Attributes:
        pictures: Numbers and difficulty of the pictures.
        recipe: Of the training; ``seed`` and preprocessing are set here.
        bench: Of the latency measurement.
    """

    pictures: PictureOptions
    recipe: Recipe
    bench: BenchOptions = field(default_factory=lambda: BenchOptions(max_seconds=3.0))

    @classmethod
    def of(cls, model: str, *, seed: int = 0) -> DemoOptions:
        """The demo with *model*: sizes and epochs that fit its minutes on two cores.

        Raises:
            UnsupportedError: There is no demo with it.
        """
        if model not in DEMO_MODELS:
            raise UnsupportedError(
                f"no demo with the model {model!r}", cure=f"Models: {', '.join(DEMO_MODELS)}."
            )
        preprocess, per_digit, changes = DEMO_MODELS[model]
        recipe = Recipe(
            model=model,
            size=preprocess.size,
            resize=preprocess.resize,
            crop_fraction=preprocess.crop_fraction,
            augment="none",  # flips and shifts would change the class
            seed=seed,
        )
        return cls(
            PictureOptions(seed=seed, train_per_digit=per_digit),
            dataclasses.replace(recipe, **changes),
        )


@dataclass(frozen=True)
class DemoResult:
    """What the demo left behind.

    Attributes:
        report: As written to report.json and report.html.
        gates: The promises, kept or not.
        json_path: report.json.
        html_path: report.html.
    """

    report: Report
    gates: tuple[Gate, ...]
    json_path: Path
    html_path: Path


@dataclass(frozen=True)
class _Files:
    """Artifacts of the three roads from one float model, by target."""

    float_: dict[str, ConversionResult]
    qat: dict[str, ConversionResult]
    ptq: dict[str, ConversionResult]


def run_demo(out: Path, options: DemoOptions, *, step: Say, note: Say) -> DemoResult:
    """Run the main job on bundled data.

    Args:
        out: Folder that exists and belongs to the demo; it becomes a run folder with the pictures
            and the artifacts in it.
        options: Numbers.
        step: Called with a line when a step begins.
        note: Called with lines in between.

    Raises:
        EdgecvError: An extra is missing, or a step failed.
    """
    step("drawing scikit-learn's handwritten digits in color")
    count = draw_tree(out / "pictures", options.pictures)
    note(f"{count} pictures of {count_classes(out / 'pictures')} classes")
    train_run(scan(out / "pictures"), options.recipe, out, claimed=True, progress=step, update=note)
    files = _export_and_convert(out, step)
    dataset = load_json(out / "data.json")
    items, classes = dataset.of("test"), dataset.classes
    step(f"evaluating on {len(items)} test pictures")
    cache = PixelCache()
    left_out = {target: made.manifest.left_out for target, made in files.qat.items()}
    preprocess = options.recipe.preprocess(DEMO_PREPROCESS)
    torch_ = torch_references(out, items, classes, preprocess, left_out)
    scores = {
        (road, target): _evaluate(result.path, ENGINES[target], items, classes, cache, road)
        for road, results in (("float", files.float_), ("qat", files.qat), ("ptq", files.ptq))
        for target, result in results.items()
    }
    step("measuring latency and memory in fresh processes")
    bench = _bench(files, options.bench)
    gates: list[Gate] = []
    backends = []
    for target in ENGINES:
        float_, int8 = scores["float", target], scores["qat", target]
        paired, against_torch = compare(float_, int8), compare(torch_.exported[target], int8)
        output_step = files.qat[target].manifest.quantizers[-1].scale
        contrary = torch_.contrary.get(target)
        gates += int8_gates(ENGINES[target], paired.record, against_torch, output_step, contrary)
        backends.append(
            _backend(target, files, (float_, int8), paired, against_torch, output_step, bench)
        )
    report = Report(
        title="edgecv demo",
        model=options.recipe.model,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        test_folder=out / "pictures" / "test",
        pictures=len(items),
        groups=len({item.group for item in items}),
        classes=classes,
        backends=tuple(backends),
        float_model=torch_.float_.top1,
        quantized_model=torch_.quantized.top1,
        methods=_methods(torch_.float_, scores),
        per_class=class_rows(scores["float", "tflite"], scores["qat", "tflite"]),
        confusion=confusion(scores["qat", "tflite"]),
        environment=bench.environment,
        validity=Validity(bench.valid, bench.reasons),
        notes=(
            *_about(torch_, left_out),
            *(f"{'kept' if g.passed else 'FAILED'}: {g.name} ({g.detail})" for g in gates),
        ),
    )
    step("writing the report")
    json_path, html_path = out / "report.json", out / "report.html"
    write_json(report, json_path)
    write_html(report, html_path)
    return DemoResult(report, tuple(gates), json_path, html_path)


def count_classes(root: Path) -> int:
    """Class folders below the training split."""
    return sum(path.is_dir() for path in (root / "train").iterdir())


def _export_and_convert(out: Path, step: Say) -> _Files:
    step("exporting QDQ ONNX: quantization-aware, and post-training from the same float model")
    trained = export_run(out)
    (out / "ptq").mkdir()
    post = export_run(out, method="ptq", out=out / "ptq")
    artifacts = out / "artifacts"

    def convert(model: Path, stem: str) -> dict[str, ConversionResult]:
        made = convert_all(model, list(ENGINES), out=artifacts, stem=stem, progress=step)
        return {result.target: result for result in made}

    return _Files(
        float_=convert(trained.float_onnx, "model"),
        qat=convert(trained.qdq_onnx, "model"),
        ptq=convert(post.qdq_onnx, "ptq"),
    )


def _about(torch_: References, left_out: dict[str, tuple[str, ...]]) -> Iterator[str]:
    """What each engine was compared with, where that is not simply the trained model."""
    for target, names in left_out.items():
        if names:
            yield (
                f"{ENGINES[target]} is compared with torch without the {len(names)} quantizers that"
                " its file leaves out"
            )
        if target in torch_.contrary:
            bound = torch_.contrary[target]
            yield (
                f"{ENGINES[target]}: torch itself, values within 1e-4 of a step of a half rounded the"
                f" other way, {bound.record.n} pictures: {100 * bound.record.agreement.value:.2f} % name"
                f" the same class, logits differ by {bound.rms_difference:.3g} (RMS),"
                f" {bound.max_difference:.3g} at most"
            )


def _evaluate(
    path: Path,
    backend: str,
    items: tuple[Item, ...],
    classes: tuple[str, ...],
    cache: PixelCache,
    road: str,
) -> Evaluation:
    with Runtime(path, backend=backend) as runtime:
        return evaluate(runtime, items, classes, name=f"{backend} {road}", cache=cache)


def _bench(files: _Files, options: BenchOptions) -> BenchResult:
    cells = [
        Cell(f"{ENGINES[target]} {kind}", results[target].path, ENGINES[target])
        for target in ENGINES
        for kind, results in (("float", files.float_), ("int8", files.qat))
    ]
    return run_cells(cells, options)


def _backend(
    target: str,
    files: _Files,
    evaluations: tuple[Evaluation, Evaluation],
    paired: PairedComparison,
    against_torch: PairedComparison,
    output_step: float,
    bench: BenchResult,
) -> BackendRecord:
    records = {record.cell.name: record for record in bench.records}
    engine = ENGINES[target]
    float_cell, int8_cell = records[f"{engine} float"], records[f"{engine} int8"]
    return BackendRecord(
        backend=engine,
        version=int8_cell.backend_version,
        target=target,
        float_file=_file(files.float_[target].path, evaluations[0], float_cell),
        int8_file=_file(files.qat[target].path, evaluations[1], int8_cell),
        paired=paired.record,
        agreement=agreement(against_torch, output_step=output_step),
    )


def _file(path: Path, evaluation: Evaluation, cell: CellRecord) -> FileRecord:
    weights = path.with_suffix(".bin") if path.suffix == ".xml" else None
    size = path.stat().st_size + (weights.stat().st_size if weights else 0)
    return FileRecord(
        path=path,
        model_bytes=size,
        top1=evaluation.top1,
        latency=Latency(cell.p50, cell.p90, cell.p99),
        import_ms=cell.import_ms,
        load_ms=cell.load_ms,
        first_ms=cell.first_ms,
        peak_rss_bytes=cell.peak_rss_bytes,
        executed_precision=cell.executed_precision,
    )


def _methods(
    torch_float: Evaluation, scores: dict[tuple[str, str], Evaluation]
) -> tuple[MethodRow, ...]:
    """QAT beside post-training quantization, each the same float model on LiteRT."""
    return tuple(
        MethodRow(
            method=label,
            bits=8,
            top1=scores[road, "tflite"].top1,
            paired=compare(torch_float, scores[road, "tflite"]).record,
        )
        for label, road in (
            ("quantization-aware training", "qat"),
            ("post-training (min-max)", "ptq"),
        )
    )
