"""From a model file and a folder of labeled pictures to the profile in its manifest; workstation side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgecv import artifact
from edgecv.drift.fit import FitOptions, fit_profile
from edgecv.drift.profile import DriftProfile
from edgecv.drift.tables import Pictures
from edgecv.errors import InputError
from edgecv.stats.calibration import probabilities

if TYPE_CHECKING:
    from edgecv.data import Item
    from edgecv.runtime import Runtime

__all__ = ["make_profile", "store_profile"]

#: Zeros of a softmax in floating point stand for next to nothing.
_LEAST_FLOAT: Final = 1e-9
#: Larger pictures are reduced first: corruptions are made at this size.
_LARGEST_SIDE: Final = 1280


def make_profile(
    runtime: Runtime,
    items: Sequence[Item],
    identity: str,
    options: FitOptions | None = None,
    *,
    most: int = 2000,
    against_float: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DriftProfile:
    """Run a model over reference pictures, clean and corrupted, and fit its profile.

    Args:
        runtime: The model.
        items: Labeled pictures that it was not trained on; labels are output indices.
        identity: Digest of the model.
        options: Sizes.
        most: Pictures used, drawn by chance.
        against_float: See :func:`~edgecv.drift.fit.fit_profile`.
        progress: Called with (done, total) now and then.

    Raises:
        EdgecvError: As :func:`~edgecv.drift.fit.fit_profile`; the model does not say what its scores are.
    """
    options = options or FitOptions()
    kind = runtime.info.score_kind
    if kind not in ("logit", "probability"):
        raise InputError(
            "the model does not say whether its scores are logits or probabilities",
            cure="Seal it into the file: edgecv adopt MODEL --score-kind logit --out NEW",
        )
    grid = runtime.info.outputs[0].quantization
    least = grid.scale / 2 if kind == "probability" and grid is not None else _LEAST_FLOAT
    rng = np.random.default_rng(options.seed)
    chosen = [items[i] for i in np.sort(rng.permutation(len(items))[:most]).tolist()]

    def score(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return np.asarray(probabilities(runtime.scores(frame)[None], kind)[0], np.float32)

    pictures = Pictures(
        load=lambda number: _load(chosen[number].path),
        labels=np.array([item.label for item in chosen], np.int64),
        groups=np.array([item.group for item in chosen]),
        score=score,
        least=least,
    )
    return fit_profile(pictures, identity, options, against_float=against_float, progress=progress)


def _load(path: Path) -> npt.NDArray[np.uint8]:
    from PIL import Image

    from edgecv.preprocess import load_rgb

    pixels = load_rgb(path)
    factor = -(-max(pixels.shape[:2]) // _LARGEST_SIDE)
    return pixels if factor == 1 else np.asarray(Image.fromarray(pixels).reduce(factor))


def store_profile(path: Path, profile: DriftProfile, *, overwrite: bool = False) -> int:
    """Put a profile into the manifest of the model at *path*; the model's identity stays.

    Returns:
        Bytes of the profile.

    Raises:
        InputError: There is one already and *overwrite* is false, or it is another model's.
        ModelLoadError: The file has no manifest or is damaged.
    """
    import json

    document = profile.as_json()

    def change(manifest: artifact.Manifest) -> artifact.Manifest:
        if manifest.identity != profile.identity:
            raise InputError(
                f"the profile is of another model ({profile.identity[:19]}…)",
                cure="Make one for this model.",
            )
        if manifest.drift_profile is not None and not overwrite:
            raise InputError(f"'{path}' has a drift profile", cure="Use --overwrite.")
        return replace(manifest, drift_profile=document)

    artifact.update(path, change)
    return len(json.dumps(document, separators=(",", ":")))
