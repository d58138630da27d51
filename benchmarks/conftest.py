"""What the benchmarks share: rows that become records, and machines that are not compared.

Run one with ``pytest benchmarks/runtime_cost.py``; ``--record`` keeps what it found. pytest-benchmark's own
options work beside that; its comparisons (``--benchmark-compare``) are refused across machines.
"""

from __future__ import annotations

import compileall
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import edgecv
import edgecv_runtimes
from edgecv.measure import Watch

sys.path.insert(0, str(Path(__file__).parent))
from record import Row, full_environment, machine, write

RECORDS = Path(__file__).parent / "records"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", action="store_true", help="write the rows into benchmarks/records")


def pytest_configure(config: pytest.Config) -> None:
    """Imports without bytecode take three times as long."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    for package in (edgecv, edgecv_runtimes):
        compileall.compile_dir(str(Path(str(package.__file__)).parent), quiet=1)


class Ledger:
    """Collects the rows of one script."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.watch = Watch()

    def add(self, row: Row, benchmark: Any = None) -> None:
        """Keep *row*, also beside what pytest-benchmark keeps."""
        self.rows.append(row)
        if benchmark is not None:
            benchmark.extra_info[f"{row.name} [{row.unit}]"] = row.value
            benchmark.extra_info["bar"] = row.bar


@pytest.fixture(scope="module")
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    found = Ledger()
    yield found
    name = Path(str(request.path)).stem
    verdict = found.watch.validity()
    print(f"\n\n{name}, valid: {verdict.valid} {' '.join(verdict.reasons)}")
    for row in found.rows:
        bar = "" if row.bar is None else f" (bar {row.bar:g}{', MISSED' if row.behind else ''})"
        print(f"  {row.name}: {row.value:.4g} {row.unit}{bar}  {row.note}")
    if request.config.getoption("record"):
        if request.session.testsfailed:
            print("  not recorded: something failed")
        else:
            command = f"pytest benchmarks/{name}.py --record"
            print(f"  {write(RECORDS, name, command, found.rows, found.watch)}")


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(config: Any, machine_info: dict[str, Any]) -> None:
    """Neither host nor user, but what decides."""
    machine_info.clear()
    machine_info.update(full_environment())


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_compare_machine_info(
    config: Any,
    benchmarksession: Any,
    machine_info: dict[str, Any],
    compared_benchmark: dict[str, Any],
) -> None:
    """Refuse to compare figures of two machines."""
    here, there = machine(machine_info), machine(compared_benchmark["machine_info"])
    if here != there:
        raise pytest.UsageError(f"measured on {there}, and this is {here}: not comparable")
