"""What the page's server gives."""

from __future__ import annotations

import io
import json
import re
import socket
import threading
import time
from typing import Any

import numpy as np
from camera_parts import Collect, ListSource, LiveSource, pause, shipped_runtime
from page_client import get, running, stream, wait
from PIL import Image

from edgecv.camera import Pipeline, Shot
from edgecv.camera.web import Page, serve
from edgecv.camera.web.guard import HEADERS


class TestWhatIsServed:
    def test_everything_has_its_type_and_the_strict_headers(self) -> None:
        kinds = {
            "/": "text/html", "/app.js": "text/javascript", "/plots.js": "text/javascript",
            "/style.css": "text/css", "/uplot.js": "text/javascript", "/uplot.css": "text/css",
            "/api/stats": "application/json", "/api/history": "application/json", "/metrics": "text/plain",
            "/snapshot.jpg": "image/jpeg", "/healthz": "application/json",
        }  # fmt: skip
        with running() as (page, _):
            for path, kind in kinds.items():
                status, headers, body = get(page, path)
                assert (status, headers["content-type"].split(";")[0]) == (200, kind), path
                assert body
                for name, value in HEADERS:
                    assert headers[name.decode()] == value.decode()
                assert "server" not in headers
            assert get(page, "/nothing")[0] == 404

    def test_the_page_asks_for_nothing_from_elsewhere(self) -> None:
        with running() as (page, _):
            text = get(page, "/")[2].decode()
            own = get(page, "/app.js")[2].decode() + get(page, "/plots.js")[2].decode()
        paths = re.findall(r'(?:src|href)="([^"]+)"', text)
        assert len(paths) > 5
        assert all(path.startswith(("/", "data:", "#")) for path in paths), paths
        assert "http" not in own
        assert "onclick" not in text
        assert "<style" not in text

    def test_the_figures_are_the_pipelines(self) -> None:
        with running() as (page, pipeline):
            wait(lambda: page.hub.stats["frames_out"] > 0)
            stats = json.loads(get(page, "/api/stats")[2])
            assert set(pipeline.stats()) <= set(stats)
            assert 0 < stats["frames_out"] <= pipeline.counts.taken
            columns = json.loads(get(page, "/api/history")[2])["columns"]
            assert len({len(column) for column in columns.values()}) == 1
            metrics = get(page, "/metrics")[2].decode()
        found = dict(
            re.findall(r"^(edgecv_camera_\w+(?:\{[^}]*\})?) (\S+)$", metrics, re.MULTILINE)
        )
        assert float(found["edgecv_camera_frames_in_total"]) >= stats["frames_out"]
        assert float(found["edgecv_camera_source_up"]) == 1
        assert float(found['edgecv_camera_stage_seconds_count{stage="infer"}']) > 0
        assert 0 <= float(found["edgecv_camera_true_top1_ratio"]) <= 1
        assert 'backend="litert"' in metrics

    def test_events_come_as_they_happen_and_go_on_where_they_were(self) -> None:
        with running() as (page, pipeline):
            with socket.create_connection(("127.0.0.1", page.port), timeout=10) as client:
                client.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
                said = b""
                while b"event: stats" not in said:
                    said += client.recv(65536)
                pipeline.events.add("test", "something happened")
                while b"something happened" not in said:
                    said += client.recv(65536)
            last = re.findall(rb"id: (\S+)", said)[-1].decode()
            assert last == f"{page.hub.boot}-{pipeline.events.since(0)[-1].number}"
            pipeline.events.add("test", "and more")
            again = self._until(page, "and more", last)
            assert b"something happened" not in again
            # after a restart of the server everything is new
            assert b"something happened" in self._until(page, "and more", "other-99")

    def _until(self, page: Page, text: str, last: str) -> bytes:
        with socket.create_connection(("127.0.0.1", page.port), timeout=10) as client:
            ask = f"GET /api/events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: {last}\r\n\r\n"
            client.sendall(ask.encode())
            said = b""
            while text.encode() not in said:
                said += client.recv(65536)
            return said


class TestPictures:
    def test_they_are_encoded_once_for_all_and_only_while_someone_looks(self) -> None:
        with running() as (page, pipeline):
            before = pipeline.counts.taken
            wait(lambda: pipeline.counts.taken > before + 20)
            assert page.hub.encoded == 0
            found: list[list[bytes]] = []
            looking = [
                threading.Thread(target=lambda: found.append(stream(page, 8))) for _ in range(4)
            ]
            for thread in looking:
                thread.start()
            for thread in looking:
                thread.join(20)
            assert [len(pictures) for pictures in found] == [8] * 4
            encoded = page.hub.encoded
            assert 8 <= encoded < 4 * 8
            wait(lambda: page.hub.viewers == 0)
            time.sleep(0.3)
            assert page.hub.encoded <= encoded + 2
            sizes = {Image.open(io.BytesIO(data)).size for pictures in found for data in pictures}
        assert sizes == {(324, 270)}

    def test_a_slow_viewer_skips_to_the_newest(self) -> None:
        class Large(LiveSource):
            def decode(self, raw: Any) -> Shot:
                rng = np.random.default_rng(raw)
                return Shot(rng.integers(0, 256, (540, 960, 3), np.uint8))

        with shipped_runtime() as runtime:
            source = Large([x for n in range(400) for x in (n, pause(0.02))])
            pipeline = Pipeline(source, runtime)
            with serve(pipeline, port=0) as page:
                pipeline.add(page)
                thread = threading.Thread(target=pipeline.run, daemon=True)
                thread.start()
                with socket.create_connection(("127.0.0.1", page.port), timeout=10) as slow:
                    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
                    slow.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    quick = stream(page, 12)
                    waiting = max(c.transport.get_write_buffer_size() for c in page._limits.open)
                    size = max(map(len, quick))
                    # a frame or two wait for the slow one, not all that have come
                    assert waiting < 3 * size + 65536
                    assert len(quick) == 12
                pipeline.stop()
                thread.join(10)

    def test_a_frame_is_encoded_once_however_often_it_is_asked_for(self) -> None:
        with shipped_runtime() as runtime:
            pipeline = Pipeline(ListSource([7]), runtime)
            with serve(pipeline, port=0) as page:
                pipeline.add(page)
                pipeline.run()
                first, second = (get(page, "/snapshot.jpg")[2] for _ in range(2))
                assert first == second
                assert page.hub.encoded == 1

    def test_without_a_frame_there_is_no_picture_yet(self) -> None:
        with (
            shipped_runtime() as runtime,
            serve(Pipeline(ListSource([1]), runtime), port=0) as page,
        ):
            status, headers, _ = get(page, "/snapshot.jpg")
            assert (status, headers["retry-after"]) == (503, "1")
            assert json.loads(get(page, "/healthz")[2]) == {"status": "starting"}

    def test_a_loop_that_hangs_is_not_healthy(self) -> None:
        with shipped_runtime() as runtime:
            pipeline = Pipeline(ListSource([1]), runtime)
            with serve(pipeline, port=0) as page:
                for seconds, status, state in ((1, 200, "ok"), (20, 503, "dead")):
                    pipeline.alive_ns = time.monotonic_ns() - seconds * 10**9
                    answer = get(page, "/healthz")
                    assert (answer[0], json.loads(answer[2])) == (status, {"status": state})


def test_a_sink_that_looks_at_nothing_costs_nothing() -> None:
    with shipped_runtime() as runtime:
        sink = Collect()
        pipeline = Pipeline(ListSource(range(50)), runtime, sinks=[sink])
        with serve(pipeline, port=0) as page:
            pipeline.add(page)
            pipeline.run()
            assert page.hub.encoded == 0
        assert len(sink.answers) == 50
