"""The labels' page in a real browser: at a desk and on a phone, light and dark, by keyboard and by thumb."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import CHROMIUM, Browser
from label_parts import COLORS, NAMES, fill, labeling
from PIL import Image

from edgecv.camera.labelpage import LabelPage
from edgecv.drift.labeling import NONE, read_audit

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="program missing: chromium (Debian: apt install chromium)"
    ),
]

READY = "ready && state && state.current"
MANY = (
    *NAMES,
    *(f"thing number {n}" for n in range(400)),
    "golden retriever",
    "retriever, curly-coated",
)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with Browser(tmp_path / "profile") as one:
        yield one


def open_page(browser: Browser, page: LabelPage) -> None:
    browser.open(page.url)
    browser.wait(READY)


def press(browser: Browser, key: str) -> None:
    """A letter or a digit."""
    code = {"code": f"Key{key.upper()}" if key.isalpha() else f"Digit{key}"}
    for kind in ("keyDown", "keyUp"):
        browser.call(
            "Input.dispatchKeyEvent", type=kind, key=key, text=key if kind == "keyDown" else "",
            windowsVirtualKeyCode=ord(key.upper()), **code,
        )  # fmt: skip


def given(folder: Path) -> dict[int, str]:
    audited = read_audit(folder)
    return {f.number: audited.given[f.file] for f in audited.labeled}


def until(condition: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("names", [NAMES, MANY], ids=["few", "many"])
def test_what_a_person_sees(names: tuple[str, ...], browser: Browser, tmp_path: Path) -> None:
    fill(tmp_path / "a", 9, names)
    seen = {}
    with labeling(tmp_path / "a") as page:
        for dark in (False, True):
            for phone, (width, height) in ((False, (1280, 900)), (True, (390, 844))):
                browser.look(width, height, dark=dark, phone=phone)
                open_page(browser, page)
                assert browser.js("document.documentElement.scrollWidth") <= width
                # the picture is large, and the actions are reached without scrolling
                box = "document.getElementById('{}').getBoundingClientRect()"
                assert browser.js(box.format("picture") + ".width") > 0.4 * width
                assert browser.js(box.format("undo") + ".bottom") <= height
                shot = tmp_path / f"{dark}-{phone}.png"
                browser.screenshot(shot, whole=False)
                seen[dark, phone] = np.asarray(Image.open(shot).convert("L")).astype(float)
    corner = {look: image[-40:, :8].mean() for look, image in seen.items()}
    assert corner[False, False] > 200
    assert corner[False, True] > 200
    assert corner[True, False] < 60
    assert corner[True, True] < 60
    assert browser.errors == []


def test_by_keyboard_alone(browser: Browser, tmp_path: Path) -> None:
    truth = fill(tmp_path / "a", 8)
    with labeling(tmp_path / "a") as page:
        browser.look(1100, 800)
        open_page(browser, page)
        mean = """(() => { const c = document.createElement('canvas'); c.width = c.height = 1;
          const g = c.getContext('2d'); g.drawImage(document.getElementById('picture'), 0, 0, 1, 1);
          return [...g.getImageData(0, 0, 1, 1).data].slice(0, 3); })()"""
        expected: dict[int, str] = {}
        while browser.js("state.current !== null"):
            number = browser.js("state.current.number")
            # what is seen is what is labeled
            shown = np.array(browser.js(mean))
            assert np.abs(shown - COLORS[truth[number]]).max() < 8
            if len(expected) == 0:
                press(browser, "s")
                browser.wait(f"ready && state.current.number !== {number}")
                press(browser, "2")
                browser.wait("ready && state.labeled === 1")
                press(browser, "u")
                browser.wait("ready && state.labeled === 0")
                press(browser, "u")
                browser.wait(f"ready && state.current.number === {number}")
                press(browser, "7")  # no class has this number
                press(browser, "x")
            press(browser, "n" if len(expected) == 3 else str(NAMES.index(truth[number])))
            expected[number] = NONE if len(expected) == 3 else truth[number]
            browser.wait(f"ready && state.labeled === {len(expected)}")
            assert given(tmp_path / "a") == expected
        assert "All are labeled" in browser.js(
            "document.getElementById('finished-says').textContent"
        )
        assert browser.js("document.activeElement.id") == "finished-title"
        text = browser.js("document.getElementById('interval').textContent")
        assert text.endswith("from 8 labels")
        browser.js("document.getElementById('done').focus()")
        browser.press("Enter", 13)
        until(page.session.done.is_set)
        browser.wait("document.body.classList.contains('ended')")
        assert "This page can be closed" in browser.js(
            "document.getElementById('count').textContent"
        )
    assert browser.errors == []


def test_nothing_counts_before_its_picture_is_there(browser: Browser, tmp_path: Path) -> None:
    fill(tmp_path / "a", 4)
    with labeling(tmp_path / "a") as page:
        open_page(browser, page)
        # a key that is held down, and impatient fingers: one label
        browser.js("for (let i = 0; i < 5; i++) give(1)")
        browser.wait("ready && state.labeled === 1")
        assert len(given(tmp_path / "a")) == 1
        browser.js(
            "document.dispatchEvent(new KeyboardEvent('keydown', { key: '1', repeat: true, bubbles: true }))"
        )
        browser.js("new Promise(done => setTimeout(done, 200))")
        assert len(given(tmp_path / "a")) == 1


def test_many_classes_are_searched(browser: Browser, tmp_path: Path) -> None:
    fill(tmp_path / "a", 5, MANY)
    with labeling(tmp_path / "a") as page:
        browser.look(1100, 800)
        open_page(browser, page)
        assert browser.js("document.getElementById('choices').children.length") == 0
        assert browser.js("document.activeElement.id") == "find"
        browser.press("Enter", 13)  # nothing is typed: nothing is meant
        for key in "retr":
            press(browser, key)
        options = "[...document.querySelectorAll('#found [role=option]')].map(o => o.textContent)"
        assert browser.js(options) == ["retriever, curly-coated", "golden retriever"]
        assert given(tmp_path / "a") == {}
        browser.press("ArrowDown", 40)
        active = "document.getElementById('find').getAttribute('aria-activedescendant')"
        assert browser.js(active) == f"class-{MANY.index('golden retriever')}"
        browser.press("Enter", 13)
        browser.wait("ready && state.labeled === 1")
        assert list(given(tmp_path / "a").values()) == ["golden retriever"]
        # the field is empty again, and letters of the shortcuts are letters in it
        assert browser.js("document.getElementById('find').value") == ""
        for key in "nus":
            press(browser, key)
        assert browser.js("document.getElementById('found').textContent").startswith("No class")
        browser.press("Enter", 13)
        browser.press("Escape", 27)
        browser.press("Escape", 27)
        press(browser, "n")
        browser.wait("ready && state.labeled === 2")
        assert sorted(given(tmp_path / "a").values()) == [NONE, "golden retriever"]


def test_a_screen_reader_gets_names_and_states(browser: Browser, tmp_path: Path) -> None:
    for name, classes in (("few", NAMES), ("many", MANY)):
        fill(tmp_path / name, 5, classes)
        with labeling(tmp_path / name) as page:
            open_page(browser, page)
            tree = browser.call("Accessibility.getFullAXTree")["nodes"]
            seen = [node for node in tree if not node["ignored"]]
            roles = {
                (node["role"]["value"], node["name"]["value"])
                for node in seen
                if node.get("name", {}).get("value")
            }
            number = browser.js("state.current.number")
            assert ("image", f"Frame {number}, to be labeled") in roles
            assert ("progressbar", "Labeled frames") in roles
            if name == "few":
                assert ("button", "red") in roles
                assert ("group", "What does it show?") in roles
            else:
                assert ("combobox", "Name of the class") in roles
                assert ("listbox", "Classes") in roles
            unnamed = [
                node["role"]["value"] for node in seen
                if node["role"]["value"] in ("button", "image", "textbox", "combobox", "progressbar")
                and not node.get("name", {}).get("value")
            ]  # fmt: skip
            assert unnamed == []


def test_what_goes_wrong_is_said(browser: Browser, tmp_path: Path) -> None:
    fill(tmp_path / "a", 4)
    alert = "document.getElementById('alert').textContent"
    with labeling(tmp_path / "a") as page:
        open_page(browser, page)
        number = browser.js("state.current.number")
        (tmp_path / "a" / f"{number:07d}.png").unlink()
        browser.open(page.url)
        browser.wait(f"{alert}.includes('cannot be shown')")
        press(browser, "s")
        browser.wait(f"ready && state.current.number !== {number}")
        assert browser.js("document.getElementById('alert').hidden") is True
    press(browser, "1")
    browser.wait(f"{alert}.includes('does not answer')")
    assert given(tmp_path / "a") == {}


def test_names_are_text(browser: Browser, tmp_path: Path) -> None:
    bad = ("<img src=x onerror=alert(1)>", "a & b", "</script>", *NAMES)
    fill(tmp_path / "a", 3, bad)
    with labeling(tmp_path / "a", show_answer=True) as page:
        open_page(browser, page)
        assert browser.js("document.querySelectorAll('img').length") == 1
        assert bad[0] in browser.js("document.getElementById('choices').textContent")
        assert "The model said <img" in browser.js("document.getElementById('said').textContent")
        browser.js("give(0)")
        browser.wait("ready && state.labeled === 1")
        assert browser.js("document.querySelectorAll('img').length") == 1
    assert browser.errors == []


def test_a_page_of_another_port_labels_nothing(browser: Browser, tmp_path: Path) -> None:
    """The worst neighbor: for SameSite cookies a port is no other site, so the browser sends the cookie along."""
    fill(tmp_path / "a", 4)
    got: list[str] = []

    class Evil(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            got.append(self.headers.get("cookie", ""))
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<title>evil</title>")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with labeling(tmp_path / "a", token="word-of-the-test") as page:
            browser.open(f"{page.url}?token=word-of-the-test")
            browser.wait(READY)
            number = browser.js("state.current.number")
            target = f"http://127.0.0.1:{page.port}/api/label"
            browser.open(f"http://127.0.0.1:{server.server_port}/")
            browser.wait("document.title === 'evil'")
            assert any(f"edgecv_{page.port}=" in cookie for cookie in got)
            body = f"JSON.stringify({{number: {number}, class: 0}})"
            for kind, mode in (("application/json", "cors"), ("text/plain", "no-cors")):
                browser.js(
                    f"fetch('{target}', {{method: 'POST', mode: '{mode}', credentials: 'include', body: {body},"
                    f" headers: {{'Content-Type': '{kind}'}}}}).catch(() => 0)"
                )
            browser.js(
                f"""(() => {{ const f = document.createElement('form'); f.method = 'POST'; f.enctype = 'text/plain';
                f.action = '{target}'; const i = document.createElement('input');
                i.name = '{{"number":{number},"class":0,"x":"'; i.value = '"}}'; f.append(i);
                document.body.append(f); f.submit(); }})()"""
            )
            browser.wait("document.body?.textContent.includes('own requests')")
            assert given(tmp_path / "a") == {}
            browser.open(page.url)
            browser.wait(READY)
            browser.js("give(0)")
            browser.wait("ready && state.labeled === 1")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
