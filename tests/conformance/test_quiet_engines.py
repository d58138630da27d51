"""No engine phones home: an empty HOME stays empty, and no socket is opened. ``CI`` would hide the fault."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cases
import pytest
from cases import CASES, Case

SCRIPT = """
import os, sys
sockets = []
sys.addaudithook(lambda event, args: event.startswith("socket.") and sockets.append(event))
if sys.argv[1] == "torch":
    import tiny_torch  # the tiny model is nobody's that edgecv knows
from edgecv.runtime import Runtime
source = sys.argv[2] if len(sys.argv) == 3 else tuple(open(path, "rb").read() for path in sys.argv[2:])
with Runtime(source, backend=sys.argv[1]) as runtime:
    import numpy as np
    spec = runtime.info.inputs[0]
    runtime.infer(np.zeros(spec.shape, spec.dtype))
paths = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
links = [os.readlink(path) for path in paths if os.path.lexists(path)]
children = open(f"/proc/self/task/{os.getpid()}/children").read().split()
print("sockets", sockets, [link for link in links if link.startswith("socket:")], "children", children)
"""


@pytest.mark.parametrize("case", [c for c in CASES if c.precision == "int8"], ids=str)
def test_running_a_model_leaves_no_trace(case: Case, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    source = case.source()
    parts = source if isinstance(source, tuple) else (source,)
    files = []
    for index, part in enumerate(parts):
        assert isinstance(part, bytes)
        (tmp_path / f"model.{index}").write_bytes(part)
        files.append(str(tmp_path / f"model.{index}"))
    hidden = {"CI", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "ORT_DISABLE_TELEMETRY"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, case.backend, *files],
        capture_output=True, text=True, cwd=tmp_path, check=False,
        env={**environment, "HOME": str(home), "PYTHONPATH": str(Path(cases.__file__).parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "sockets [] [] children []"
    assert list(home.rglob("*")) == []
