"""Makes the model that ``edgecv selftest`` ships with: ``python -m edgecv.demo.shipped``.

The demo's recipe with the smallest net, trained, exported and converted anew (about ten minutes on one
core); the same bytes for the same versions and processor. Needs the extra ``[train]``.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
import numpy.typing as npt

from edgecv.artifact import write_atomically
from edgecv.conversion import convert_all
from edgecv.data import scan
from edgecv.demo.pictures import PictureOptions, draw_tree
from edgecv.demo.pipeline import ENGINES, DemoOptions
from edgecv.errors import GateError
from edgecv.preprocess import load_rgb
from edgecv.runtime import Runtime
from edgecv.selftest.bundle import MODELS, Bundle
from edgecv.spec import QuantParams
from edgecv.train import Recipe, export_run, train_run

__all__ = ["make_bundle"]

#: What the recipe of the demo's model changes; one thread, so that sums are added in one order.
RECIPE: Final[dict[str, Any]] = {"model": "resnet10_nano", "epochs": 20, "lr": 8e-3, "threads": 1}
PICTURES: Final = 20
#: By how much an engine's integers may differ from LiteRT's, in output steps. LiteRT gives the same on
#: every processor that was tried (x86 from SSE to AVX-512, Cortex-A53, A72, A76, most of them emulated).
#: OpenVINO was 4 off on them (in float, on Arm); ONNX Runtime 0, and 12 with AVX2 alone: its kernels
#: then add two products in 16 bits, which saturate.
TOLERANCE: Final = {"litert": 0, "openvino": 8, "onnxruntime": 16}
#: Steps between the best and the second class, so that no such difference changes an answer.
MARGIN: Final = 2 * max(TOLERANCE.values()) + 1
#: Bits of a pixel that are kept.
LEVELS: Final = np.uint8(0xF0)
#: Of the archive, in bytes.
MAX_SIZE: Final = 100_000


def make_bundle(
    folder: Path,
    *,
    recipe: Recipe | None = None,
    drawn: PictureOptions | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Bundle:
    """Train, convert, and choose the pictures.

    They are drawings without noise and in few levels (they shrink to a twentieth) of digits that were
    not trained on, spread over the classes. Only ones that the model is right about with a margin and
    on which the engines agree here to the integer: the self-test tests an installation, not the model.

    Args:
        folder: For everything in between.
        recipe: Of the training; None takes the demo's with :data:`RECIPE`.
        drawn: The training's pictures.
        say: Called with a line per step.

    Raises:
        GateError: Too few such pictures.
    """
    demo = DemoOptions.of("resnet10_micro")
    recipe = recipe or dataclasses.replace(demo.recipe, **RECIPE)
    drawn = drawn or demo.pictures
    say("drawing")
    draw_tree(folder / "pictures", drawn)
    clean = dataclasses.replace(drawn, noise=0.0, train_per_digit=1, held_out_per_digit=1)
    draw_tree(folder / "clean", clean)
    train_run(scan(folder / "pictures"), recipe, folder / "run", progress=say, update=say)
    qdq = export_run(folder / "run").qdq_onnx
    made = convert_all(qdq, list(MODELS), out=folder / "artifacts", stem="digits", progress=say)
    paths = {result.target: result.path for result in made}
    names = [name for path in paths.values() for name in _files_of(path)]
    output = made[0].manifest.outputs[0].quantization
    assert output is not None
    grid, candidates = output, _candidates(paths["tflite"], folder / "clean" / "test", output.scale)
    answers = {
        target: _integers(path, ENGINES[target], candidates, grid) for target, path in paths.items()
    }
    alike = [
        number
        for number in range(len(candidates))
        if all(
            np.array_equal(found[number], answers["tflite"][number]) for found in answers.values()
        )
    ]
    say(
        f"{len(candidates)} pictures with a margin, on {len(alike)} the engines agree to the integer"
    )
    if len(alike) < PICTURES:
        raise GateError(
            f"only {len(alike)} pictures are right with a margin and the same on every engine",
            cure="Train it longer.",
        )
    chosen = _spread(alike, [name for name, _ in candidates])[:PICTURES]
    return Bundle(
        files={name: (folder / "artifacts" / name).read_bytes() for name in names},
        pictures=np.stack([candidates[number][1] for number in chosen]),
        labels=tuple(candidates[number][0] for number in chosen),
        integers=answers["tflite"][chosen].astype(np.int8),
        output=grid,
        tolerance=TOLERANCE,
        made_with=made[0].manifest.tools,
    )


def _files_of(path: Path) -> list[str]:
    return [path.name, *([path.with_suffix(".bin").name] if path.suffix == ".xml" else [])]


def _candidates(model: Path, test: Path, step: float) -> list[tuple[str, npt.NDArray[np.uint8]]]:
    """Classes and pictures that the model is right about with a margin."""
    found = []
    with Runtime(model) as runtime:
        for folder in sorted(test.iterdir()):
            for file in sorted(folder.iterdir()):
                picture = load_rgb(file) & LEVELS
                scores = runtime.scores(picture)
                second, best = np.sort(scores)[-2:]
                answer = runtime.info.labels[int(scores.argmax())]
                if answer == folder.name and best - second >= MARGIN * step:
                    found.append((folder.name, picture))
    return found


def _spread(numbers: list[int], names: list[str]) -> list[int]:
    """The first of every class, then the second of every class, and so on."""
    seen: Counter[str] = Counter()
    turns = {}
    for number in numbers:
        turns[number] = seen[names[number]]
        seen[names[number]] += 1
    return sorted(numbers, key=lambda number: (turns[number], names[number]))


def _integers(
    path: Path,
    backend: str,
    candidates: list[tuple[str, npt.NDArray[np.uint8]]],
    grid: QuantParams,
) -> npt.NDArray[np.int64]:
    """The output's integers [pictures, classes]."""
    with Runtime(path, backend=backend) as runtime:
        scores = np.stack([runtime.scores(picture) for _, picture in candidates])
    return np.rint(scores.astype(np.float64) / grid.scale).astype(np.int64) + grid.zero_point


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("edgecv/selftest/digits.zip"),
    show_default=True,
)
def main(out: Path) -> None:
    """Make the archive that ships."""
    with tempfile.TemporaryDirectory(prefix="edgecv-shipped-") as folder:
        data = make_bundle(Path(folder), say=lambda line: click.echo(line, err=True)).to_bytes()
    if len(data) > MAX_SIZE:
        raise GateError(f"the archive has {len(data)} bytes", cure=f"At most {MAX_SIZE}.")
    write_atomically(out, data)
    click.echo(f"{out}: {len(data)} bytes")


if __name__ == "__main__":
    main()
