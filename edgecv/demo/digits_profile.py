"""Makes the drift profile of the shipped model: ``python -m edgecv.demo.digits_profile``.

Its reference is the demo's validation split: digits that the model was not trained on, and that
``edgecv camera --source synth:`` does not draw. Needs the extras ``[litert,drift]``.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from importlib import resources
from pathlib import Path

import click

from edgecv import artifact
from edgecv.artifact import write_atomically
from edgecv.camera.shipped import PROFILE
from edgecv.data import scan
from edgecv.demo.pictures import draw_tree
from edgecv.drift import DriftProfile
from edgecv.drift.making import make_profile
from edgecv.runtime import Runtime
from edgecv.selftest.bundle import MODELS, load_bundle

__all__ = ["main", "shipped_model_profile"]


def shipped_model_profile() -> DriftProfile:
    """Fit it; some minutes on one core."""
    with tempfile.TemporaryDirectory(prefix="edgecv-digits-") as name:
        folder = Path(name)
        load_bundle().unpack(folder)
        model = folder / MODELS["tflite"]
        draw_tree(folder / "pictures")
        with Runtime(model) as runtime:
            known = scan(folder / "pictures").relabel(runtime.info.labels)
            return make_profile(runtime, known.of("val"), artifact.read(model).identity)


def main() -> None:
    """Write the file into the package."""
    text = json.dumps(shipped_model_profile().as_json(), separators=(",", ":"))
    data = gzip.compress(text.encode(), 9, mtime=0)
    target = Path(str(resources.files("edgecv.camera").joinpath(PROFILE)))
    write_atomically(target, data)
    click.echo(f"{target.name}: {len(data)} bytes")


if __name__ == "__main__":
    main()
