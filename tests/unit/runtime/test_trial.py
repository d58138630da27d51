"""A file is tried in another process: what happens there becomes an error here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tiny_models

from edgecv import artifact
from edgecv.errors import InputError, ModelLoadError, UnsupportedError
from edgecv.runtime import Runtime
from edgecv.runtime.trial import run_trial

#: A package of somebody else with backends that misbehave, each in its own way.
BACKENDS = '''
import ctypes, os, signal, time
import numpy as np
from edgecv.errors import UnsupportedError
from edgecv.spec.types import TensorSpec

class Works:
    kinds = ("onnx",)
    name = "works"
    inputs = outputs = (TensorSpec("x", (1, 2), "float32", "NC"),)
    def __init__(self, model, *, threads, float_precision="f32"):
        self.load()
    @classmethod
    def version(cls): return "1"
    def load(self): print("engines print on standard output")
    def run(self): pass
    def infer(self, feeds):
        assert not feeds["x"].any()
        self.run()
        return feeds
    def executed_precision(self): return "unknown"
    def close(self): pass

class CrashesLoading(Works):
    def load(self): os.kill(os.getpid(), signal.SIGSEGV)
class CrashesRunning(Works):
    def run(self): os.kill(os.getpid(), signal.SIGFPE)
class CrashesClosing(Works):
    def close(self): os.abort()
class CrashesAtTheEnd(Works):
    def close(self):
        import atexit
        atexit.register(os.kill, os.getpid(), signal.SIGBUS)
class Hangs(Works):
    def run(self): time.sleep(1000)
class Exits(Works):
    def run(self): os._exit(3)
class Leaks(Works):
    def run(self): raise KeyError("nobody expects this")
class Refuses(Works):
    def load(self): raise UnsupportedError("it is too new", cure="Update it.")
class Greedy(Works):
    def run(self): np.ones(1 << 50)
'''  # fmt: skip


@pytest.fixture
def backends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package above, installed on the path."""
    (tmp_path / "misbehaving.py").write_text(BACKENDS)
    info = tmp_path / "misbehaving-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: misbehaving\nVersion: 1.0\n")
    classes = [
        line[6:].split("(")[0].rstrip(":")
        for line in BACKENDS.splitlines()
        if line.startswith("class ")
    ]
    entries = "".join(f"{name} = misbehaving:{name}\n" for name in classes)
    (info / "entry_points.txt").write_text(f"[edgecv.backends]\n{entries}")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def try_on(backend: str, timeout_s: float = 60) -> None:
    run_trial(
        artifact.read(tiny_models.onnx_add()), backend=backend, threads=1, timeout_s=timeout_s
    )


@pytest.mark.usefixtures("backends")
def test_what_works_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    try_on("Works")
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("backends")
@pytest.mark.parametrize(
    ("backend", "message"),
    [
        ("CrashesLoading", r"the model: CrashesLoading crashed in a trial of it \(SIGSEGV\)"),
        ("CrashesRunning", r"crashed in a trial of it \(SIGFPE\)"),
        ("CrashesClosing", r"crashed in a trial of it \(SIGABRT\)"),
        ("CrashesAtTheEnd", r"crashed in a trial of it \(SIGBUS\)"),
        ("Exits", r"Exits failed in a trial of it"),
        ("Leaks", r"Leaks failed in a trial of it: KeyError: 'nobody expects this'"),
        ("Greedy", r"it asks for more memory than there is"),
    ],
)
def test_what_goes_wrong_is_named(backend: str, message: str) -> None:
    with pytest.raises(ModelLoadError, match=message) as caught:
        try_on(backend)
    assert "another backend" in caught.value.cure


@pytest.mark.usefixtures("backends")
def test_what_does_not_end_is_ended() -> None:
    with pytest.raises(ModelLoadError, match=r"did not finish a trial of it within 5 s"):
        try_on("Hangs", timeout_s=5)


@pytest.mark.usefixtures("backends")
def test_an_error_keeps_its_kind_and_cure() -> None:
    with pytest.raises(UnsupportedError, match="it is too new") as caught:
        try_on("Refuses")
    assert (caught.value.what, caught.value.cure) == ("it is too new", "Update it.")


def test_a_process_that_cannot_start_is_not_the_files_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere"))
    with pytest.raises(UnsupportedError, match="no process can be started"):
        try_on("onnxruntime")
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(UnsupportedError, match=r"sys\.executable is empty"):
        try_on("onnxruntime")
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no such module >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(UnsupportedError, match=r"ended before it saw the file: no such module"):
        try_on("onnxruntime")


@pytest.mark.parametrize("backend", ["litert", "openvino", "onnxruntime"])
def test_unsigned_files_are_tried_and_then_run(backend: str) -> None:
    source = {
        "litert": tiny_models.tflite_add(),
        "openvino": tiny_models.openvino_add(),
        "onnxruntime": tiny_models.onnx_add(),
    }[backend]
    with Runtime(source, backend=backend, check="trial") as runtime:
        assert runtime.info.check == "tried"


def test_a_file_that_the_engine_refuses(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(tiny_models.onnx_add().replace(b"Add", b"Zdd"))
    with pytest.raises(
        ModelLoadError, match=r"model\.onnx': ONNX Runtime cannot load it"
    ) as caught:
        Runtime(path, check="trial")
    assert "edgecv info" in caught.value.cure


def test_intact_files_need_no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = artifact.seal(
        "onnx", tiny_models.onnx_model(), None, tiny_models.manifest("onnx", "float32")
    )

    def no_process(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "run", no_process)
    with Runtime(sealed, check="trial") as runtime:
        assert runtime.info.check == "intact"


def test_an_unknown_check_is_refused() -> None:
    with pytest.raises(InputError, match="check"):
        Runtime(tiny_models.onnx_add(), check="maybe")
