"""What an import may load: nothing but the standard library, then only what the device has."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

OURS = {"edgecv", "edgecv_runtimes", "edgecv_converters"}
#: Files that packaging puts on every start of Python (editable installs, coverage).
STARTUP = {"_distutils_hack", "a1_coverage"}


def third_party_after(code: str) -> set[str]:
    """Top-level packages outside the standard library that *code* loads in a fresh process."""
    script = (
        "import sys\n"
        "before = {name.split('.')[0] for name in sys.modules}\n"
        f"{code}\n"
        "after = {name.split('.')[0] for name in sys.modules} - before - sys.stdlib_module_names\n"
        "import json\n"
        "print(json.dumps(sorted(after)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    # compiled helpers of one package carry names such as "__mypyc"
    return {name for name in loaded if not name.startswith("_")} - OURS - STARTUP


def test_import_edgecv_loads_no_third_party_package() -> None:
    assert third_party_after("import edgecv") == set()


def test_the_runtime_loads_what_a_board_has() -> None:
    loaded = third_party_after("import edgecv; edgecv.Runtime")
    assert loaded <= {"numpy", "PIL", "defusedxml"}
    assert "numpy" in loaded


@pytest.mark.parametrize("command", ["predict", "info", "evaluate", "adopt", "selftest"])
def test_device_commands_load_nothing_of_a_workstation(command: str) -> None:
    code = f"import importlib; importlib.import_module('edgecv.cli.{command}').command"
    assert third_party_after(code) <= {"click", "numpy", "PIL", "defusedxml"}


def test_foreign_metadata_is_read_with_what_a_board_has() -> None:
    code = "from edgecv.foreign import adopt, metadata, model_info, tflite_metadata, ultralytics"
    assert third_party_after(code) <= {"numpy", "PIL", "defusedxml"}


def test_the_selftest_loads_what_a_board_has() -> None:
    assert third_party_after("import edgecv.selftest") <= {"numpy", "PIL", "defusedxml"}


def test_the_command_line_itself_needs_click_alone() -> None:
    assert third_party_after("import edgecv.cli") == {"click"}


def test_the_converter_never_loads_torch_or_an_engine() -> None:
    loaded = third_party_after("import edgecv_converters; edgecv_converters.convert_model")
    assert not loaded & {"torch", "timm", "openvino", "onnxruntime", "ai_edge_litert", "tensorflow"}
