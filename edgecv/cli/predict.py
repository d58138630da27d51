"""``edgecv predict``: classify pictures."""

from __future__ import annotations

import json
from pathlib import Path

import click

from edgecv.cli.options import (
    backend_option,
    file_argument,
    labels_option,
    preprocess_option,
    threads_option,
)

__all__ = ["command"]


@click.command(name="predict")
@file_argument("model")
@file_argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--top-k", type=click.IntRange(1), default=5, show_default=True, help="Classes to print."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per picture.")
@labels_option
@preprocess_option
@backend_option
@threads_option
def command(
    model: Path,
    images: tuple[Path, ...],
    top_k: int,
    as_json: bool,
    labels: Path | None,
    preprocess: str | None,
    backend: str,
    threads: int,
) -> None:
    """Classify pictures with MODEL.

    \b
    edgecv predict artifacts/model.int8.tflite photo.jpg
    edgecv predict theirs.tflite photo.jpg --labels labels.txt --preprocess signed
    """
    from edgecv.runtime import Runtime

    with Runtime(
        model, backend=backend, threads=threads, labels=labels, preprocess=preprocess
    ) as runtime:
        for image in images:
            answer = runtime.classify(image, top_k=top_k)
            if as_json:
                ranked = [
                    {"index": p.index, "label": p.label, "score": p.score}
                    for p in answer.predictions
                ]
                times = {
                    "preprocess_ms": answer.timings.preprocess_ns / 1e6,
                    "infer_ms": answer.timings.infer_ns / 1e6,
                }
                click.echo(
                    json.dumps(
                        {
                            "image": str(image),
                            "score_kind": answer.score_kind,
                            "predictions": ranked,
                            **times,
                        }
                    )
                )
                continue
            click.echo(f"{image}  ({answer.timings.infer_ns / 1e6:.2f} ms)")
            for prediction in answer.predictions:
                click.echo(f"  {prediction.score:7.4f}  {prediction.label}")
