"""``edgecv verify``: exit code, and what it says about one wrong number."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from reseal import reseal
from tampering import Copy
from verified_nets import TARGETS, Verified

from edgecv.cli import main

Verify = Callable[[str], Verified]
END = ["end to end", "agreement"]
#: (target, source is float) → the gates, in order.
GATES = {
    ("tflite", False): [
        "parameters", "tensors xnnpack", "tensors builtin", "delegate", "int8 arithmetic", *END,
    ],
    ("tflite", True): ["parameters", "delegate", "end to end", "end to end builtin", "agreement"],
    **{(t, f): ["parameters", "executed precision", *END] for t in TARGETS[1:] for f in (False, True)},
}  # fmt: skip
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """``edgecv verify`` as the console runs it: exit code, stdout, stderr."""

    def run(artifact: Path, source: Path, *options: str) -> tuple[int, str, str]:
        words = ["edgecv", "verify", str(artifact), "--against", str(source), *options]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as stop:
            main()
        said = capsys.readouterr()
        return int(str(stop.value.code)), said.out, said.err

    return run


def tampered(verified: Verified, target: str, name: str, index: tuple[int, ...]) -> Copy:
    copy = verified.copy(target)
    array = copy.array(name)
    array[index] = np.nextafter(array[index], 1) if array.dtype.kind == "f" else array[index] + 1
    copy.save()
    return copy


@pytest.mark.parametrize("net", ["resnet", "float"])
def test_an_untouched_artifact(net: str, target: str, verified: Verify, command: Command) -> None:
    made = verified(net)
    code, out, err = command(made.artifacts[target], made.source)
    assert (code, err) == (0, "")
    first, *gates = out.splitlines()
    assert first == f"{made.artifacts[target]}: intact, verified on 8 synthetic samples"
    assert all(gate.startswith("  ok      ") for gate in gates)
    assert [re.split("  +", gate)[2] for gate in gates] == GATES[target, net == "float"]


@pytest.mark.parametrize(
    ("net", "name", "index", "said"),
    [
        ("resnet", "layer1.conv1.weight/int", (5, 2, 1, 1), "layer1.conv1.weight, channel 5, "),
        ("resnet", "fc.weight/int", (3, 2), "fc.weight, channel 2, element 19: integer is "),
        ("resnet", "conv1.bias/int", (6,), "conv1.bias, channel 6, element 6: integer is "),
        ("resnet", "conv1.weight/scale", (4,), "conv1.weight, channel 4: scale is "),
        ("resnet", "layer1.conv2.weight/zero_point", (1,), "layer1.conv2.weight, channel 1: zero"),
        ("resnet", "layer1.bn2/scale", (), "layer1.bn2: scale is "),
        ("resnet", "layer1.bn2/zero_point", (), "layer1.bn2: zero_point is "),
        ("float", "layer1.conv1.weight", (7, 0, 0, 0), "layer1.conv1.weight, channel 7, element "),
    ],
)
def test_one_wrong_number(
    net: str,
    name: str,
    index: tuple[int, ...],
    said: str,
    target: str,
    verified: Verify,
    command: Command,
) -> None:
    made = verified(net)
    place = (0,) if target == "tflite" and not index else index
    copy = tampered(made, target, name, place)
    code, out, err = command(copy.path, made.source)
    assert code == 1
    line, state, gate = out.splitlines()
    assert line.startswith(said)
    assert state == f"{copy.path}: intact, NOT verified: parameters failed"
    assert gate == f"  FAILED  parameters  {line}; the other gates did not run"
    assert "1 of the parameters" in err
    assert str(copy.path) in err


def test_many_wrong_numbers_are_counted(target: str, verified: Verify, command: Command) -> None:
    made = verified("resnet")
    copy = made.copy(target)
    for name in ("conv1.weight/int", "fc.weight/int"):
        copy.array(name)[...] = 0
    copy.save()
    code, out, err = command(copy.path, made.source)
    assert code == 1
    assert len(out.splitlines()) == 20 + 2
    assert "34 of the parameters" in err
    _, out, _ = command(copy.path, made.source, "--tensors")
    assert len(out.splitlines()) == 34 + 2


def test_the_source_of_another_network(target: str, verified: Verify, command: Command) -> None:
    code, out, _ = command(verified("resnet").artifacts[target], verified("separable").source)
    assert code == 1
    assert "is nothing, the source has " in out


def test_a_changed_file_is_refused_before_it_is_compared(
    target: str, verified: Verify, command: Command
) -> None:
    copy = verified("resnet").copy(target)
    copy.array("conv1.bias/int")[0] += 1
    copy.write()
    code, out, err = command(copy.path, verified("resnet").source)
    assert (code, out) == (2, "")
    assert "it changed since edgecv wrote it" in err


def test_every_tensor_and_layer_is_listed_on_request(
    target: str, verified: Verify, command: Command
) -> None:
    made = verified("resnet")
    code, out, _ = command(made.artifacts[target], made.source, "--tensors")
    assert code == 0
    rows = [line.split() for line in out.splitlines() if line.startswith("    ")]
    if target == "tflite":
        kinds = [(row[0], row[1]) for row in rows]
        assert ("layer1.conv1.weight", "xnnpack") not in kinds
        assert {("layer1.act1", "xnnpack"), ("layer1.act1", "builtin")} <= set(kinds)
        assert [
            "maxpool",
            "xnnpack",
            "max",
            "0,",
            "mean",
            "0",
            "LSB",
            "PAD,",
            "MAX_POOL_2D",
        ] in rows
    else:
        assert [row[1:] for row in rows[1:]] == [["conv", "int8"]] * 3 + [["linear", "int8"]]


def test_pictures(target: str, verified: Verify, command: Command, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(3):
        pixels = rng.integers(0, 256, (30, 40, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    made = verified("resnet")
    code, out, err = command(made.artifacts[target], made.source, "--data", str(tmp_path))
    assert code == 0
    assert "intact, verified on 3 pictures" in out
    assert "3 of 3 name the same class: 100.0%, 95 % interval 43.9% to 100.0%" in out
    assert "stretched to 20x16, RGB, values in [0, 1]" in err
    code, _, err = command(made.artifacts[target], made.source, "--data", str(tmp_path / "none"))
    assert code == 2
    assert "does not exist" in err


def test_other_bytes_from_the_same_source(verified: Verify, command: Command) -> None:
    """A TFLite file of another version of the converter: its plan is not known."""
    made = verified("resnet")
    copy = made.copy("tflite")
    assert copy.body.count(b"edgecv\0") == 1
    copy.replace_body(copy.body.replace(b"edgecv\0", b"EDGECV\0"))
    reseal(copy.path)
    code, out, err = command(copy.path, made.source)
    assert code == 0
    assert "this version of edgecv writes other bytes from that source" in err
    assert "parameters" in out
    assert "end to end" in out
    assert "tensors" not in out
    assert "delegate" not in out


@pytest.mark.parametrize("name", ["artifact", "source"])
def test_files_of_the_wrong_kind(name: str, verified: Verify, command: Command) -> None:
    made = verified("resnet")
    words = {"artifact": made.artifacts["tflite"], "source": made.source}
    other = made.artifacts["openvino"]
    if name == "source":
        words["source"] = other
        code, _, err = command(**words)
        assert "Artifacts are made from ONNX" in err
    else:
        words["artifact"] = made.source
        code, _, err = command(**words)
        # the source itself is an ONNX model that is what it is
        assert err == ""
    assert code == (2 if name == "source" else 0)
