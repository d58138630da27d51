"""The page in a real browser, at a desk and on a phone, light and dark."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, Browser
from camera_parts import shipped_runtime
from PIL import Image

from edgecv.camera import Pipeline, open_source
from edgecv.camera.web import Page, serve

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="program missing: chromium (Debian: apt install chromium)"
    ),
]

READY = "document.getElementById('lead-value')?.textContent.includes('%')"
STATE = "document.getElementById('state-text').textContent"


@contextmanager
def page_of(
    source: str, port: int = 0, token: str | None = None
) -> Iterator[tuple[Page, Pipeline]]:
    with shipped_runtime() as runtime, shipped_runtime() as reference:
        pipeline = Pipeline(open_source(source, runtime.info.labels), runtime, reference=reference)
        with serve(pipeline, port=port, token=token) as page:
            pipeline.add(page)
            thread = threading.Thread(target=pipeline.run, daemon=True)
            thread.start()
            try:
                yield page, pipeline
            finally:
                pipeline.stop()
                thread.join(10)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with Browser(tmp_path / "profile") as one:
        yield one


def test_what_a_person_sees_and_reads(browser: Browser, tmp_path: Path) -> None:
    with page_of("synth:?rate=15&hold=5") as (page, pipeline):
        seen = {}
        for dark in (False, True):
            for phone, (width, height) in ((False, (1280, 900)), (True, (390, 844))):
                browser.look(width, height, dark=dark, phone=phone)
                browser.open(page.url)
                browser.wait(READY)
                browser.wait("document.querySelectorAll('#plots figure').length >= 4")
                # nothing sticks out at the side
                assert browser.js("document.documentElement.scrollWidth") <= width
                shot = tmp_path / f"{dark}-{phone}.png"
                browser.screenshot(shot, whole=False)
                seen[dark, phone] = np.asarray(Image.open(shot).convert("L")).astype(float)
        assert seen[False, False].mean() > 180
        assert seen[True, False].mean() < 90
        assert all(image.std() > 15 for image in seen.values())
        assert (
            browser.js("document.getElementById('lead-title').textContent")
            == "Accuracy against known labels"
        )
        others = browser.js("document.getElementById('others').textContent")
        assert "int8 against float (paired)" in others
        rows = browser.js(
            "[...document.querySelectorAll('#latency tr')].map(r => r.cells[0].textContent)"
        )
        assert rows == ["capture", "preprocess", "infer", "postprocess", "glass"]
        assert "gives frames" in browser.js("document.getElementById('log').textContent")
        pipeline.events.add("test", "<img src=x onerror=alert(1)>")
        browser.wait("document.getElementById('log').textContent.includes('onerror')")
        assert browser.js("document.querySelectorAll('#log img').length") == 0
    # the page ends with its server: what it complains of then is no fault
    assert [
        error for error in browser.errors if "ERR_" not in error and "Failed to load" not in error
    ] == []


def test_every_control_is_reached_by_keyboard_and_has_a_name(browser: Browser) -> None:
    with page_of("synth:?rate=15") as (page, _):
        browser.look(1000, 800)
        browser.open(page.url)
        browser.wait(READY)
        names = []
        for _ in range(7):
            browser.press("Tab", 9)
            names.append(
                browser.js(
                    "document.activeElement.textContent.trim().slice(0, 24) || document.activeElement.id"
                )
            )
        assert names[:3] == ["Skip to the figures", "Pause the picture", "Snapshot"]
        tree = browser.call("Accessibility.getFullAXTree")["nodes"]
        roles = {
            (node["role"]["value"], node["name"]["value"])
            for node in tree
            if node.get("name", {}).get("value") and not node["ignored"]
        }
        assert ("image", "Live picture of the camera") in roles
        assert ("columnheader", "p99") in roles
        assert ("rowheader", "glass") in roles
        headings = {name for role, name in roles if role == "heading"}
        assert {
            "edgecv camera",
            "Picture",
            "Time per answer",
            "Drift",
            "Over time",
            "Events",
        } <= headings
        unnamed = [
            node["role"]["value"] for node in tree
            if not node["ignored"] and node["role"]["value"] in ("button", "link", "image", "textbox")
            and not node.get("name", {}).get("value")
        ]  # fmt: skip
        assert unnamed == []
        assert browser.js("document.documentElement.lang") == "en"
        # the pause is a switch that says its state
        browser.js("document.getElementById('pause').focus()")
        browser.press("Enter", 13)
        browser.wait("document.getElementById('pause').getAttribute('aria-pressed') === 'true'")
        browser.wait("document.getElementById('picture').src.includes('/snapshot.jpg')")


def test_picture_and_answer_belong_together(browser: Browser) -> None:
    # two seconds per scene: a browser that is a picture behind shows the one before
    with page_of("synth:?rate=0.7&hold=1") as (page, pipeline):
        browser.look(700, 900)
        browser.open(page.url)
        browser.wait(READY)
        mean = """(() => { const c = document.createElement('canvas'); c.width = c.height = 8;
          const g = c.getContext('2d'); g.drawImage(document.getElementById('picture'), 0, 0, 8, 8);
          return [...g.getImageData(0, 0, 8, 8).data]; })()"""
        checked = 0
        for _ in range(3):
            last = pipeline.last
            while pipeline.last is last:
                browser.js("1")
            browser.js("new Promise(done => setTimeout(done, 500))")
            answer = pipeline.last
            assert answer is not None
            small = Image.fromarray(answer.frame.shot.pixels).resize((8, 8), Image.Resampling.BOX)
            wanted = np.asarray(small, float)
            shown = np.array(browser.js(mean), float).reshape(8, 8, 4)[..., :3]
            label = browser.js("document.getElementById('answer-label').textContent")
            if pipeline.last is answer:
                assert np.abs(shown - wanted).mean() < 12
                assert label == answer.classification.top.label
                checked += 1
        assert checked >= 2


def test_a_server_that_is_started_anew_is_found_again(browser: Browser) -> None:
    browser.look(900, 800)
    with page_of("synth:?rate=15&seed=1") as (page, _):
        port = page.port
        browser.open(page.url)
        browser.wait(READY)
        browser.wait(f"{STATE}.includes('seed=1: live')")
    browser.wait("document.body.classList.contains('gone')")
    assert "does not answer" in browser.js(STATE)
    with page_of("synth:?rate=15&seed=2", port=port) as (page, _):
        browser.wait(f"{STATE}.includes('seed=2: live')")
        browser.wait("!document.body.classList.contains('gone')")
        browser.wait(
            "document.getElementById('picture').complete && document.getElementById('picture').naturalWidth > 0"
        )
        assert "seed=1" not in browser.js("document.getElementById('log').textContent")
        wait_for_viewer = (
            f"fetch('{page.url}api/stats').then(r => r.json()).then(s => s.viewers >= 1)"
        )
        browser.wait(wait_for_viewer)


def test_two_viewers_share_one_encoding_and_nobody_costs_nothing(
    browser: Browser, tmp_path: Path
) -> None:
    with page_of("synth:?rate=25") as (page, _), Browser(tmp_path / "second") as second:
        for one in (browser, second):
            one.open(page.url)
            one.wait(READY)
        browser.wait(f"fetch('{page.url}api/stats').then(r => r.json()).then(s => s.viewers === 2)")
        first = page.hub.encoded
        browser.js("new Promise(done => setTimeout(done, 1000))")
        assert 4 <= page.hub.encoded - first <= 14
        for one in (browser, second):
            one.open("about:blank")
            one.wait("document.readyState === 'complete'")
        browser.js("new Promise(done => setTimeout(done, 500))")
        assert page.hub.viewers == 0


def test_the_token_is_asked_for_and_remembered(browser: Browser) -> None:
    with page_of("synth:?rate=15", token="word-of-the-test") as (page, _):
        address = f"http://127.0.0.1:{page.port}/"
        browser.open(address)
        browser.wait("!!document.querySelector('input[name=token]')")
        browser.js(
            "document.getElementById('token').value = 'a wrong word'; document.forms[0].submit()"
        )
        browser.wait("document.body.textContent.includes('That is not the token')")
        browser.js(
            "document.getElementById('token').value = 'word-of-the-test'; document.forms[0].submit()"
        )
        browser.wait(READY)
        assert browser.js("location.href") == address
        assert browser.js("document.cookie") == ""
        browser.open(address)
        browser.wait(READY)
