"""What an engine asks of the system while it loads and runs a model, its native code included.

Python's own hooks see neither a socket that C++ opens and closes again nor a file that it writes. The
home folder is empty and ``CI`` unset: with ``CI`` set, engines that report home keep quiet.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import cases
import pytest
from cases import CASES, Case

SCRIPT = """
import sys
if sys.argv[1] == "torch":
    import tiny_torch  # the tiny model is nobody's that edgecv knows
import numpy as np
from edgecv.runtime import Runtime
source = tuple(open(path, "rb").read() for path in sys.argv[2:])
with Runtime(source if len(source) > 1 else source[0], backend=sys.argv[1]) as runtime:
    print(runtime.info.precision)
    spec = runtime.info.inputs[0]
    runtime.infer(np.zeros(spec.shape, spec.dtype))
    runtime.profile(runs=1)
"""
#: A call that succeeded: name, arguments, result. Unfinished ones are put together first.
CALL = re.compile(r"^\d+ +(\w+)\((.*)\) += (\d+)")
#: A path, and the folder that it counts from where a descriptor names one.
PATH = re.compile(r'(?:\d+<([^>]*)>, )?"([^"]*)"')
CHANGES = {
    "mkdir",
    "mkdirat",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "symlink",
}
CHANGES |= {
    "symlinkat",
    "link",
    "linkat",
    "truncate",
    "chmod",
    "fchmodat",
    "mknod",
    "mknodat",
    "utimensat",
}
#: What it may ask for memory that processes share, and for its own threads.
HARMLESS = ("/dev/null", "/dev/shm/", "/proc/self/", "/dev/tty")


def calls(log: str) -> list[tuple[str, str]]:
    """Name and arguments of every call that succeeded."""
    waiting: dict[str, str] = {}
    found = []
    for line in log.splitlines():
        process = line.split(" ", 1)[0]
        if line.endswith("<unfinished ...>"):
            waiting[process] = line.removesuffix("<unfinished ...>")
            continue
        if "resumed>" in line:
            line = waiting.pop(process, "") + line.split("resumed>", 1)[1]
        if match := CALL.match(line):
            found.append((match[1], match[2]))
    return found


def sockets(log: str) -> list[str]:
    """Addresses that were looked for, and sockets to the network."""
    return [
        f"{name}({arguments})"
        for name, arguments in calls(log)
        if (name == "socket" and "AF_INET" in arguments)
        or (name == "connect" and "AF_INET" in arguments)
    ]


def written(log: str) -> list[str]:
    """Paths that were opened for writing, made, moved or removed."""
    found = []
    for name, arguments in calls(log):
        opened = name.startswith(("open", "creat")) and re.search(
            r"O_WRONLY|O_RDWR|O_CREAT", arguments
        )
        if name == "creat" or opened or name in CHANGES:
            found += [str(Path(base) / path) for base, path in PATH.findall(arguments)]
    return [path for path in found if not path.startswith(HARMLESS)]


def traced(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    log = folder / "calls.log"
    done = subprocess.run(
        ["strace", "-f", "-y", "-qq", "-s", "256", "-e", "trace=network,file", "-o", str(log), *command],
        capture_output=True, text=True, cwd=folder, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return log.read_text()


def environment(home: Path, temporary: Path) -> dict[str, str]:
    hidden = {"CI", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "ORT_DISABLE_TELEMETRY"}
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return {
        **kept,
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "PYTHONPATH": str(Path(cases.__file__).parent),
        # bytecode is Python's business
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.mark.parametrize("case", [c for c in CASES if c.precision == "int8"], ids=str)
def test_no_network_and_no_file(case: Case, tmp_path: Path) -> None:
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    source = case.source()
    files = []
    for number, part in enumerate(source if isinstance(source, tuple) else (source,)):
        assert isinstance(part, bytes)
        path = tmp_path / f"model.{number}"
        path.write_bytes(part)
        files.append(str(path))
    command = [sys.executable, "-c", SCRIPT, case.backend, *files]
    log = traced(command, tmp_path, environment(home, temporary))
    assert len(calls(log)) > 100
    assert sockets(log) == []
    # ONNX Runtime tells what it executes in a file, and Python tries whether a folder can be written
    own = f"{temporary}/"
    assert [path for path in written(log) if not path.startswith(own)] == []
    assert list(home.iterdir()) == list(temporary.iterdir()) == []


def test_the_test_sees_sockets_and_files(tmp_path: Path) -> None:
    script = (
        "import socket, threading\n"
        "def work():\n"
        "    s = socket.socket(); s.settimeout(1)\n"
        "    try: s.connect(('127.0.0.1', 9))\n"
        "    except OSError: pass\n"
        "    open('secret', 'w').close()\n"
        "thread = threading.Thread(target=work); thread.start(); thread.join()\n"
    )
    log = traced([sys.executable, "-c", script], tmp_path, environment(tmp_path, tmp_path))
    assert len(sockets(log)) == 1
    assert written(log) == ["secret"]
