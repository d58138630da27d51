"""Pictures on disk: scanning, checking, splitting and identifying them. NumPy and Pillow only."""

from __future__ import annotations

from edgecv.data.batches import batches_digest, picture_batches
from edgecv.data.decode import read_picture, verify
from edgecv.data.model import SPLITS, Dataset, Item
from edgecv.data.scan import find_pictures, scan
from edgecv.data.split import split
from edgecv.data.store import fingerprint, load_json, save_json

__all__ = [
    "SPLITS",
    "Dataset",
    "Item",
    "batches_digest",
    "find_pictures",
    "fingerprint",
    "load_json",
    "picture_batches",
    "read_picture",
    "save_json",
    "scan",
    "split",
    "verify",
]
