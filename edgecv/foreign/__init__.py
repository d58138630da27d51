"""Somebody else's model: what its classes are called, and how a picture becomes its input.

The caller's word counts most, then edgecv's manifest, then metadata that others write into files. What
nobody says stays unsaid: :func:`complaint` tells what the input's numbers suggest, and nothing is
assumed. A file with a whole manifest costs no import here.
"""

from __future__ import annotations

from edgecv.foreign.reading import (
    LabelsSource,
    PreprocessSource,
    Reading,
    complaint,
    resolve,
)

__all__ = ["LabelsSource", "PreprocessSource", "Reading", "complaint", "resolve"]
