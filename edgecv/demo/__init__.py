"""The main job on bundled data, end to end."""

from __future__ import annotations
