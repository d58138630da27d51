"""A camera, a model, and the truth about both: latency, memory and accuracy while it runs.

>>> from edgecv.camera import open_source
>>> open_source("synth:?rate=0").uri
'synth:?rate=0'
"""

from __future__ import annotations

from edgecv.camera.capture import Capture, Counts
from edgecv.camera.events import Event, Events
from edgecv.camera.frame import Answer, Frame, Shot
from edgecv.camera.monitor import DriftMonitor
from edgecv.camera.pipeline import Pipeline, PipelineOptions, Sink
from edgecv.camera.sources import SCHEMES, Source, SourceError, open_source

__all__ = [
    "SCHEMES",
    "Answer",
    "Capture",
    "Counts",
    "DriftMonitor",
    "Event",
    "Events",
    "Frame",
    "Pipeline",
    "PipelineOptions",
    "Shot",
    "Sink",
    "Source",
    "SourceError",
    "open_source",
]
