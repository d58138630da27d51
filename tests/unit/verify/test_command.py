"""``edgecv verify``: exit code, and what it says about one wrong number."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tampering import Copy
from verified_nets import Verified

from edgecv.cli import main

Verify = Callable[[str], Verified]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """``edgecv verify`` as the console runs it: exit code, stdout, stderr."""

    def run(artifact: Path, source: Path) -> tuple[int, str, str]:
        words = ["edgecv", "verify", str(artifact), "--against", str(source)]
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
    assert out == f"{made.artifacts[target]}: intact; every parameter equals '{made.source}'\n"


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
    assert out.startswith(said)
    assert out.count("\n") == 1
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
    assert len(out.splitlines()) == 20
    assert "34 of the parameters" in err


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
