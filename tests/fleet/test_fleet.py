"""The playbook of ``examples/fleet`` against two boards that lose their connection and their power.

Run by ``make test-fleet``. Needs Linux with namespaces and network (ansible-core by pip, sshd by apt-get).
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cases import sealed

PROJECT = Path(__file__).parents[2]
EDGECV = Path(sys.executable).parent / "edgecv"
sys.path.insert(0, str(Path(__file__).parent))

from sshd_boards import Board, UnavailableError, ansible, check, fetch_sshd, until  # noqa: E402

pytestmark = [pytest.mark.fleet]
#: Exit code of a run that cannot make a board (as automake's for a skipped test).
NOT_TESTED = 77


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with sshd and Ansible in it; EDGECV_FLEET_WORK keeps it."""
    kept = os.environ.get("EDGECV_FLEET_WORK")
    folder = Path(kept).absolute() if kept else tmp_path_factory.mktemp("fleet")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        check()
        fetch_sshd(folder)
        ansible(folder)
    except UnavailableError as error:
        pytest.exit(f"FLEET IS NOT TESTED: {error}", returncode=NOT_TESTED)
    yield folder
    if not kept:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Fleet:
    """Two boards, and the folder that the playbook is called in."""

    one: Board
    two: Board
    folder: Path
    playbook: Path

    def begin(self, **variables: str) -> subprocess.Popen[str]:
        """Call the playbook as the README says."""
        variables = {"fleet_settle_s": "0", **variables}
        words = [f"-e{name}={value}" for name, value in variables.items()]
        inventory = self.folder / "inventory.ini"
        return subprocess.Popen(
            [self.playbook, "-i", inventory, PROJECT / "examples/fleet/bench.yml", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            start_new_session=True,
            env={**os.environ, "ANSIBLE_HOME": str(self.folder / "a"), "LC_ALL": "C.UTF-8"},
        )

    def play(self, **variables: str) -> tuple[int, str]:
        """Exit code, and what was printed."""
        return self.end(self.begin(**variables))

    def end(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        """The same of one that was begun."""
        printed = process.communicate(timeout=600)[0]
        print(printed)
        return process.returncode, printed

    def fetched(self, board: Board) -> dict[str, bytes]:
        """Records that arrived here."""
        return {x.name: x.read_bytes() for x in (self.folder / "fleet" / board.name).glob("*")}


@pytest.fixture
def fleet(work: Path, tmp_path: Path) -> Iterator[Fleet]:
    """Two boards that are up."""
    sshd, playbook = fetch_sshd(work), ansible(work)
    one, two = (Board(name, tmp_path / name, sshd) for name in ("one", "two"))
    boards = (one, two)
    lines = ["[boards]", *(board.inventory for board in boards)]
    lines += ["[boards:vars]", "ansible_python_interpreter=auto_silent"]
    (tmp_path / "inventory.ini").write_text("\n".join(lines) + "\n")
    body = sealed("tflite", "int8")
    assert isinstance(body, bytes)
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts/tiny.int8.tflite").write_bytes(body)
    for board in boards:
        board.start()
    yield Fleet(one, two, tmp_path, playbook)
    for board in boards:
        board.power_off()


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of change of every file below."""
    files = (x for x in folder.rglob("*") if x.is_file())
    return {str(x.relative_to(folder)): (x.read_bytes(), x.stat().st_mtime_ns) for x in files}


def test_power_cut(fleet: Fleet) -> None:
    one, two = fleet.one, fleet.two
    settings = {
        "edgecv_command": str(EDGECV),
        "bench_arguments": "'--runs 64 --seconds 0.5'",
        "fleet_retries": "3",
    }
    play = fleet.begin(**settings)
    until(lambda: one.measures() and two.measures(), "both measurements")
    one.cut_connections()
    two.power_off()
    code, printed = fleet.end(play)
    assert code != 0
    [job] = two.jobs.iterdir()
    assert not (job / "done").exists()
    assert "fatal: [two]: UNREACHABLE!" in printed
    assert one.logins() > 1
    assert "fatal: [one]" not in printed
    assert "NO RECORDS" in printed
    assert not fleet.fetched(two)
    first = fleet.fetched(one)
    [record] = first.values()
    valid = json.loads(record)["validity"]["valid"]
    assert ("NOT TO BE TRUSTED" in printed) == (not valid)

    two.start()
    before = content(one.jobs)
    code, printed = fleet.play(**settings)
    assert code == 0
    assert content(one.jobs) == before
    assert fleet.fetched(one) == first
    [other] = fleet.fetched(two).values()
    assert other != record
    words = [str(EDGECV), "bench", "collate", "fleet", "--out", "all.csv"]
    subprocess.run(words, check=True, cwd=fleet.folder)
    with (fleet.folder / "all.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert [row["record"].split("/")[0] for row in rows] == ["one", "two"]
    assert {row["model"] for row in rows} == {"tiny.int8.tflite"}

    # what was lost here comes again, what is whole does not
    [kept] = (fleet.folder / "fleet/one").glob("*.json")
    [lost] = (fleet.folder / "fleet/two").glob("*.json")
    changed = kept.stat().st_mtime_ns
    lost.write_bytes(other[:100])
    assert fleet.play(**settings)[0] == 0
    assert lost.read_bytes() == other
    assert kept.stat().st_mtime_ns == changed


_STAND_IN = """\
#!/bin/sh
[ "$1" = --version ] && echo 1 && exit
echo {name} >>"$HOME/calls"
sleep {seconds}
for out; do :; done
mkdir "$out" && echo '{{"validity": {{"valid": false, "reasons": ["It was hot."]}}}}' >"$out/{name}.json"
echo "Error: the engine broke" >&2
exit {code}
"""


def stand_in(board: Board, name: str, code: int, seconds: int = 0) -> None:
    """Put a command on the board that ends as it is told."""
    command = board.home / "edgecv"
    command.write_text(_STAND_IN.format(name=name, code=code, seconds=seconds))
    command.chmod(0o755)


def test_exit_codes(fleet: Fleet) -> None:
    stand_in(fleet.one, "first", 3)
    stand_in(fleet.two, "partial", 2)
    code, printed = fleet.play(edgecv_command="~/edgecv")
    assert code == 2
    assert "NOT TO BE TRUSTED: first.json: It was hot." in printed
    assert "fatal: [one]" not in printed
    assert "Error: the engine broke / edgecv bench run: exit code 2" in printed
    assert list(fleet.fetched(fleet.one)) == ["first.json"]
    assert not fleet.fetched(fleet.two)

    stand_in(fleet.one, "second", 0)
    stand_in(fleet.two, "whole", 0)
    code, printed = fleet.play(edgecv_command="~/edgecv")
    assert code == 0
    assert "NOT TO BE TRUSTED: first.json" in printed
    assert list(fleet.fetched(fleet.one)) == ["first.json"]
    assert list(fleet.fetched(fleet.two)) == ["whole.json"]

    code, printed = fleet.play(edgecv_command="~/edgecv", fleet_round="2")
    assert code == 0
    assert sorted(fleet.fetched(fleet.one)) == ["first.json", "second.json"]

    code, printed = fleet.play(bench_models="nothing/*.tflite")
    assert code == 2
    assert "finds no file" in printed


def test_interrupted_play(fleet: Fleet) -> None:
    for board in (fleet.one, fleet.two):
        stand_in(board, "only", 0, seconds=8)
    play = fleet.begin(edgecv_command="~/edgecv")
    until(lambda: fleet.one.measures() and fleet.two.measures(), "both measurements")
    os.killpg(play.pid, signal.SIGKILL)
    play.communicate()
    assert fleet.play(edgecv_command="~/edgecv")[0] == 0
    for board in (fleet.one, fleet.two):
        assert list(fleet.fetched(board)) == ["only.json"]
        assert (board.home / "calls").read_text() == "only\n"


def test_installation(fleet: Fleet, work: Path) -> None:
    fleet.two.power_off()
    words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", f"{work}/dist"]
    shutil.rmtree(work / "dist", ignore_errors=True)
    subprocess.run([*words, PROJECT], check=True, capture_output=True)
    [wheel] = (work / "dist").glob("*.whl")
    settings = {
        "edgecv_requirement": f"{wheel}[litert]",
        "bench_arguments": "'--runs 64 --seconds 0.5'",
    }
    assert fleet.play(**settings)[0] == 4  # board two
    assert len(fleet.fetched(fleet.one)) == 1
    installed = fleet.one.home / ".edgecv-fleet/venv/installed"
    changed = installed.stat().st_mtime_ns
    assert fleet.play(**settings)[0] == 4
    assert installed.stat().st_mtime_ns == changed
    installed.write_text("another one\n")
    assert fleet.play(**settings)[0] == 4
    assert installed.stat().st_mtime_ns != changed
