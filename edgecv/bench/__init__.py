"""Latency and memory of model files: one fresh process per cell, blocks interleaved in random order."""

from __future__ import annotations

from edgecv.bench.cells import run_cells
from edgecv.bench.model import BenchOptions, BenchResult, Cell, CellRecord

__all__ = ["BenchOptions", "BenchResult", "Cell", "CellRecord", "run_cells"]
