"""Streams of JPEG files: cut, damaged, ended, stalled."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from camera_parts import shipped_runtime
from PIL import Image
from stream_servers import MjpegServer, grays, jpeg, run

from edgecv.camera import Pipeline, SourceError, open_source
from edgecv.camera import capture as capture_module
from edgecv.camera.sources.jpegs import JpegSplitter
from edgecv.errors import InputError


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_module, "BACKOFF_S", (0.02, 0.1))


class TestSplitter:
    def test_any_cut_of_the_stream_gives_the_same_files(self) -> None:
        files = [jpeg(value) for value in (10, 90, 200)]
        noise = [b"", b"--x\r\nContent-Type: image/jpeg\r\n\r\n", b"\xff\xd8 \xff\xff"]
        stream = b"".join(a + b for a, b in zip(noise, files, strict=True))
        for step in (1, 2, 3, 7, 64, 1000, len(stream)):
            splitter = JpegSplitter()
            found = []
            for start in range(0, len(stream), step):
                splitter.feed(stream[start : start + step])
                while (one := splitter.take()) is not None:
                    found.append(one)
            assert found == files, step

    def test_a_thumbnail_does_not_end_a_picture(self) -> None:
        inner, outer = jpeg(5, (16, 16)), jpeg(120)
        segment = b"\xff\xe1" + (len(inner) + 2).to_bytes(2, "big") + inner
        whole = outer[:2] + segment + outer[2:]
        splitter = JpegSplitter()
        splitter.feed(whole)
        assert splitter.take() == whole
        assert splitter.take() is None

    def test_progressive_files_with_many_scans_stay_whole(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(
            tmp_path / "x.jpg", progressive=True
        )
        whole = (tmp_path / "x.jpg").read_bytes()
        assert whole.count(b"\xff\xda") > 3
        splitter = JpegSplitter()
        splitter.feed(whole + jpeg(1))
        assert (splitter.take(), splitter.take()) == (whole, jpeg(1))

    def test_after_damage_the_next_file_is_found(self) -> None:
        good = jpeg(77)
        for cut in range(4, len(good) - 2, 9):
            splitter = JpegSplitter()
            # a length cut in two may swallow 64 kB before the walk fails
            splitter.feed(good[:cut] + good * (2 + 70_000 // len(good)))
            found = []
            while (one := splitter.take()) is not None:
                found.append(one)
            assert found[-1] == good, cut

    def test_noise_ends_and_is_not_kept(self) -> None:
        splitter = JpegSplitter(most_bytes=10_000)
        rng = np.random.default_rng(1)
        for _ in range(300):
            splitter.feed(rng.integers(0, 256, 1000, np.uint8).tobytes())
            while splitter.take() is not None:
                pass
            assert len(splitter._data) < 12_000
        endless = JpegSplitter(most_bytes=5000)
        endless.feed(b"\xff\xd8\xff\xda\x00\x02" + b"a" * 50_000)
        assert len(endless._data) < 100
        endless.feed(jpeg(3))
        assert endless.take() == jpeg(3)


class TestHttp:
    @pytest.mark.parametrize("lengths", [True, False])
    def test_pictures_come_in_order(self, lengths: bool) -> None:
        with MjpegServer(lambda: iter([jpeg(v) for v in (20, 60, 250)]), lengths=lengths) as server:
            source = open_source(f"http://me:s%40crt@127.0.0.1:{server.port}/a.mjpg?k=v")
            source.open()
            assert grays(source, 3) == [20, 60, 250]
            source.close()
        assert "s%40crt" not in source.uri
        assert "k=v" not in source.uri
        assert server.requests[0].startswith("GET /a.mjpg?k=v HTTP/1.1\r\n")
        assert "Authorization: Basic bWU6c0BjcnQ=" in server.requests[0]

    def test_corrupt_pictures_are_counted_and_the_stream_goes_on(self) -> None:
        good = jpeg(100)
        rng = np.random.default_rng(0)

        def script() -> Iterator[bytes | float | None]:
            for number in range(40):
                yield 0.01
                if number % 4 == 1:
                    yield good[: len(good) // 2]
                elif number % 4 == 2:
                    yield bytes(rng.integers(0, 256, 300, np.uint8))
                else:
                    yield good
            yield 5.0

        with MjpegServer(script) as server:
            source = open_source(f"http://127.0.0.1:{server.port}/")
            summary, seen, pipeline = run(source, frames=15)
        assert set(seen) == {100}
        assert pipeline.counts.damaged >= 1
        assert summary["frames_in"] == summary["frames_out"] + summary["frames_dropped"]
        assert pipeline.counts.losses == 0

    def test_a_stream_that_ends_is_taken_up_again(self) -> None:
        turn = itertools.count()

        def script() -> Iterator[bytes | float | None]:
            value = 40 + 40 * next(turn)
            for _ in range(3):
                yield jpeg(value)
                yield 0.03
            yield None

        with MjpegServer(script) as server:
            source = open_source(f"http://127.0.0.1:{server.port}/")
            _, seen, pipeline = run(source, frames=6)
        assert len(set(seen)) >= 2  # three pictures per connection
        assert pipeline.counts.losses >= 1

    def test_a_stream_that_stalls_is_taken_up_again(self) -> None:
        turn = itertools.count()

        def script() -> Iterator[bytes | float | None]:
            yield jpeg(50 + 50 * next(turn))
            yield 20.0

        with MjpegServer(script) as server:
            source = open_source(f"http://127.0.0.1:{server.port}/")
            source.stall_s = 0.3
            began = time.monotonic()
            _, seen, pipeline = run(source, frames=3)
        assert seen[:3] == [50, 100, 150]
        assert pipeline.counts.losses == 2
        assert time.monotonic() - began < 6

    @pytest.mark.parametrize(
        ("status", "kind", "message"),
        [
            ("404 Not Found", "text/html", "answers 404 with text/html"),
            ("200 OK", "text/html", "no stream of JPEG"),
            ("401 Unauthorized", "multipart/x-mixed-replace", "answers 401"),
        ],
    )
    def test_what_is_no_stream_is_said(self, status: str, kind: str, message: str) -> None:
        with (
            MjpegServer(lambda: iter([]), status=status, kind=kind) as server,
            pytest.raises(SourceError, match=message),
        ):
            run(open_source(f"http://127.0.0.1:{server.port}/"))

    def test_nobody_there_is_said(self) -> None:
        with MjpegServer(lambda: iter([])) as server:
            port = server.port
        with pytest.raises(SourceError, match="Connection refused"):
            open_source(f"http://127.0.0.1:{port}/").open()
        with pytest.raises(InputError, match="names no host"):
            open_source("http:///x")

    def test_our_own_page_is_a_source(self) -> None:
        from edgecv.camera.web import serve

        with shipped_runtime() as runtime:
            first = Pipeline(open_source("synth:?rate=30"), runtime)
            with serve(first, port=0) as page:
                first.add(page)
                thread = threading.Thread(target=first.run, daemon=True)
                thread.start()
                source = open_source(f"http://127.0.0.1:{page.port}/stream.mjpg")
                summary, _, _ = run(source, frames=5)
                first.stop()
                thread.join(10)
        assert summary["frames_out"] == 5
