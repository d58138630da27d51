"""Options that would do nothing are refused, and folders that two things would fill."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgecv.cli import cli

SOURCE = ("camera", "--source", "synth:?rate=0", "--view", "none", "--frames", "3")
LABEL = ("drift", "label", "no-such-folder")


def run(*words: str, **environment: str) -> Result:
    return CliRunner().invoke(cli, list(words), env=environment)


@pytest.mark.parametrize(
    ("words", "option", "needed"),
    [
        ((*SOURCE, "--audit-every", "0"), "--audit-every", "--audit"),
        # the default, but given
        ((*SOURCE, "--audit-frames", "200"), "--audit-frames", "--audit"),
        ((*SOURCE, "--audit-mb", "5"), "--audit-mb", "--audit"),
        ((*SOURCE, "--float-every", "5"), "--float-every", "--float"),
        ((*SOURCE, "--keep-mb", "5"), "--keep-mb", "--keep"),
        ((*SOURCE, "--keep-below", "0.3"), "--keep-below", "--keep"),
        ((*SOURCE, "--log-mb", "5"), "--log-mb", "--log"),
        ((*LABEL, "--host", "0.0.0.0"), "--host", "--page"),
        ((*LABEL, "--port", "8081"), "--port", "--page"),
        ((*LABEL, "--token", "sesame"), "--token", "--page"),
    ],
    ids=lambda words: words[-2] if isinstance(words, tuple) else "",
)
def test_an_option_that_does_nothing_is_a_usage_error(
    words: tuple[str, ...], option: str, needed: str
) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert f"{option} does nothing without {needed}. Add {needed}, or" in result.output


def test_a_token_of_the_environment_is_for_whoever_needs_it() -> None:
    result = run(*LABEL, EDGECV_CAMERA_TOKEN="a word for all of our pages")
    assert "does nothing" not in result.output
    assert "no-such-folder" in str(result.exception)


@pytest.mark.parametrize("keep", ["both", "there/../both", "link"])
def test_one_folder_for_two_things_is_refused_before_it_is_made(keep: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "both")
    result = run(*SOURCE, "--keep", str(tmp_path / keep), "--audit", str(tmp_path / "both"))
    assert "each needs a folder of its own" in str(result.exception)
    assert not (tmp_path / "both").exists()


def test_what_was_offered_is_said(tmp_path: Path) -> None:
    result = run(*SOURCE, "--audit", str(tmp_path / "a"), "--audit-every", "0")
    assert result.exit_code == 0, result.output
    assert "audit: 3 frames kept of 3 offered; label them: " in result.output


def test_nothing_to_label_is_not_offered(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    words = ("camera", "--source", f"dir:{tmp_path / 'empty'}", "--view", "none")
    result = run(*words, "--audit", str(tmp_path / "a"))
    assert result.exit_code != 0
    assert "label them" not in result.output


def test_a_model_without_names_of_classes_leaves_no_folder(
    outside_data: Path, tmp_path: Path
) -> None:
    model = outside_data / "models" / "vww_96_int8.tflite"
    words = ("camera", str(model), *SOURCE[1:], "--preprocess", "unit")
    result = run(*words, "--audit", str(tmp_path / "a"))
    assert result.exit_code != 0
    assert not (tmp_path / "a").exists()
    names = tmp_path / "names.txt"
    names.write_text("no person\nperson\n")
    result = run(*words, "--labels", str(names), "--audit", str(tmp_path / "a"))
    assert result.exit_code == 0, result.output
