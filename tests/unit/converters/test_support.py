"""The list of operators: made from the rules, the same in docs/support.md, and every test that it names exists."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from edgecv.cli import cli
from edgecv.errors import InputError
from edgecv_converters import TARGETS, list_operators, support
from edgecv_converters.tflite.rules import Rule, default_registry

ROOT = Path(__file__).parents[3]
RULES = {rule.name: rule for _, rule in default_registry()}


def test_the_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "support.md").read_text(encoding="utf-8")
    assert page == list_operators("markdown"), (
        "run: .venv/bin/edgecv convert --list-ops markdown > docs/support.md"
    )


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_every_rule_says_what_holds_it(rule: Rule) -> None:
    assert rule.nearest.strip()
    assert rule.kernel.strip()
    assert set(rule.verified) == {"int8", "float32"}
    for tests in rule.verified.values():
        for name in tests.split(","):
            path = ROOT / name.strip()
            assert path.is_file(), f"{rule.name} names {name}, which is not there"
            assert rule.op in path.read_text(encoding="utf-8"), f"{name} says nothing of {rule.op}"


def test_rows() -> None:
    rows = support.rows()
    assert {row.target for row in rows} == set(TARGETS)
    assert {row.op for row in rows if row.target == "tflite"} == {
        f"{r.domain}::{r.op}" if r.domain else r.op for r in RULES.values()
    }
    keys = [(row.op, row.dtype, row.target) for row in rows]
    assert len(set(keys)) == len(keys)
    for row in rows:
        assert all((ROOT / test).is_file() for test in row.tests), row
    # the other engines read ONNX themselves: no list is made up for them
    others = [row for row in rows if row.target != "tflite"]
    assert [(row.op, row.versions) for row in others] == [("any", ())] * 2
    assert all("takes ONNX operators itself" in row.nearest for row in others)


@pytest.mark.parametrize(
    ("arguments", "form"),
    [(["--list-ops"], "table"), (["--list-ops", "markdown"], "markdown")],
)
def test_command_line(arguments: list[str], form: str) -> None:
    """No model is needed, and a page can be written from it."""
    done = CliRunner().invoke(cli, ["convert", *arguments])
    assert done.exit_code == 0, done.output
    assert done.output.rstrip("\n") == list_operators(form).rstrip("\n")
    assert done.output.endswith("\n")
    assert not done.output.endswith("\n\n")


def test_another_form() -> None:
    with pytest.raises(InputError, match=r"unknown form 'html'.*table, markdown"):
        list_operators("html")
    assert CliRunner().invoke(cli, ["convert", "--list-ops", "html"]).exit_code == 2
