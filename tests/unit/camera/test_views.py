"""The terminal, the window, and what none of them may load."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from camera_parts import ListSource, shipped_runtime
from click.testing import CliRunner

from edgecv.camera import Pipeline, open_source
from edgecv.camera.window import WindowView
from edgecv.cli import cli
from edgecv.errors import MissingExtraError, UnsupportedError


def test_the_terminal_shows_the_figures() -> None:
    words = ["camera", "--source", "synth:?rate=0", "--frames", "80", "--view", "terminal"]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    for part in (
        "Accuracy against known labels",
        "glass",
        "p99",
        "litert, 1 thread(s), executes int8",
        "MiB",
    ):
        assert part in result.output


def test_names_do_not_become_markup() -> None:
    from rich.console import Console

    from edgecv.camera.terminal import _table

    with shipped_runtime() as runtime:
        pipeline = Pipeline(open_source("synth:?rate=0", runtime.info.labels), runtime)
        pipeline.run(frames=3)
        stats = pipeline.stats()
    stats["answer"]["label"] = "[bold]evil[/bold]\x1b[2J"
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(_table(stats, ["[red]event[/red]"]))
    text = console.export_text()
    assert "[bold]evil[/bold]" in text
    assert "[red]event[/red]" in text
    assert "\x1b" not in text


class FakeWindow:
    """The part of cv2 that a window needs."""

    FONT_HERSHEY_SIMPLEX = 0
    error = RuntimeError

    def __init__(self, refusal: str = "", key: str = "") -> None:
        self._refusal, self._key = refusal, key
        self.shown: list[Any] = []
        self.destroyed = False

    def namedWindow(self, *_: Any) -> None:  # noqa: N802
        if self._refusal:
            raise RuntimeError(self._refusal)

    def putText(self, *_: Any) -> None:  # noqa: N802
        pass

    def imshow(self, _: str, picture: Any) -> None:
        self.shown.append(picture)

    def waitKey(self, _: int) -> int:  # noqa: N802
        return ord(self._key) if self._key and len(self.shown) >= 5 else -1

    def destroyAllWindows(self) -> None:  # noqa: N802
        self.destroyed = True


def window(pipeline: Pipeline, fake: FakeWindow) -> WindowView:
    view = WindowView(pipeline)
    view._cv2 = fake
    return view


def test_a_window_shows_colors_as_opencv_has_them_and_ends_with_q() -> None:
    fake = FakeWindow(key="q")

    class Red(ListSource):
        def decode(self, raw: Any) -> Any:
            from edgecv.camera import Shot

            pixels = np.zeros((45, 54, 3), np.uint8)
            pixels[..., 0] = 200
            return Shot(pixels)

    with shipped_runtime() as runtime:
        pipeline = Pipeline(Red(range(100)), runtime)
        with window(pipeline, fake) as view:
            pipeline.add(view)
            summary = pipeline.run()
    assert summary["frames_out"] == 5
    assert fake.shown[0].shape == (270, 324, 3)
    assert fake.shown[0][0, 0].tolist() == [0, 0, 200]
    assert fake.destroyed


@pytest.mark.parametrize(
    ("refusal", "kind", "message"),
    [
        (
            "The function is not implemented. Rebuild the library",
            MissingExtraError,
            r"edgecv\[opencv-window\]",
        ),
        ("can't open display", UnsupportedError, "Use --view web or terminal"),
    ],
)
def test_without_a_desktop_it_says_what_to_do(
    refusal: str, kind: type[Exception], message: str
) -> None:
    with shipped_runtime() as runtime:
        view = window(Pipeline(ListSource([1]), runtime), FakeWindow(refusal))
        with pytest.raises(kind, match=message):
            view.__enter__()


@pytest.mark.parametrize(
    ("package", "view"),
    [("starlette", "web"), ("uvicorn", "web"), ("prometheus_client", "web"), ("rich", "terminal")],
)
def test_without_the_extra_the_command_is_named(
    package: str, view: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib.util import find_spec

    monkeypatch.setattr(
        "edgecv.errors.find_spec", lambda name: None if name == package else find_spec(name)
    )
    result = CliRunner().invoke(
        cli, ["camera", "--source", "synth:", "--frames", "1", "--view", view]
    )
    assert isinstance(result.exception, MissingExtraError)
    assert str(result.exception).endswith("pip install 'edgecv[camera]'")


_SCRIPT = """
import sys
from click.testing import CliRunner
from edgecv.cli import cli
result = CliRunner().invoke(cli, ["camera", "--source", sys.argv[1], "--frames", "10", "--view", "none"])
assert result.exit_code == 0, result.output
import json
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


def test_a_camera_without_a_page_loads_no_web_and_no_opencv() -> None:
    words = [sys.executable, "-c", _SCRIPT, "synth:?rate=0"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    workstation = {"torch", "timm", "onnx", "tensorflow", "edgecv_converters"}
    assert not loaded & (
        {"starlette", "uvicorn", "prometheus_client", "rich", "cv2", "asyncio", "ssl"} | workstation
    )
    assert {"numpy", "PIL", "edgecv"} <= loaded
