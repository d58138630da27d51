"""The drift profile of the model that a camera runs when none is named.

It lies beside the model's archive, not in the model: three formats share it, and the archive is bounded.
``python -m edgecv.demo.digits_profile`` makes it.
"""

from __future__ import annotations

import gzip
import json
import zlib
from importlib import resources
from typing import Any, Final

from edgecv.errors import ModelLoadError

__all__ = ["PROFILE", "shipped_profile"]

PROFILE: Final = "digits.drift.json.gz"
#: It unpacks to tens of kilobytes.
_MAX_BYTES: Final = 1 << 20


def shipped_profile() -> dict[str, Any]:
    """The profile, JSON.

    Raises:
        ModelLoadError: Missing or damaged.
    """
    try:
        with resources.files("edgecv.camera").joinpath(PROFILE).open("rb") as file:
            text = gzip.GzipFile(fileobj=file).read(_MAX_BYTES)
        document: dict[str, Any] = json.loads(text)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ModelLoadError(
            f"the shipped model's drift profile cannot be read ({error})",
            cure="Install edgecv again.",
        ) from error
    return document
