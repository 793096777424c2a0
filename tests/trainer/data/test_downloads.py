"""Remote shards, from a real HTTP server that misbehaves and a real S3-compatible one."""

import socketserver
import threading
import time
from collections import Counter
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest
import torch

from posecore.errors import UserError
from posecore.skeleton import load_skeleton
from trainer.data import downloads
from trainer.data.config import DataConfig
from trainer.data.streams import real_stream, synthetic_stream

H36M = load_skeleton("h36m17")


def config(folder, **more):
    sizes = {"input_size_px": 32, "synthetic_batch_size": 4, "prior_batch_size": 4}
    return DataConfig(**sizes, cache_limit_mb=0, shuffle_buffer=4, download_folder=folder, **more)


class _Server(socketserver.ThreadingTCPServer):
    """Serves a folder; `drops` answers are broken off half-way, each chunk comes after `pause_s`."""

    allow_reuse_address, daemon_threads = True, True

    def __init__(self, folder: Path) -> None:
        self.folder, self.drops, self.pause_s = folder, 0, 0.0
        self.asked: Counter[str] = Counter()
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, request, address, server) -> None:
        super().__init__(request, address, server, directory=str(server.folder))

    def log_message(self, *arguments) -> None:
        pass

    def copyfile(self, source, outputfile) -> None:
        content = source.read()
        if self.path.endswith(".tar"):
            self.server.asked[self.path] += 1
            if self.server.drops > 0:
                self.server.drops -= 1
                outputfile.write(content[: len(content) // 2])
                self.close_connection = True
                return
        for start in range(0, len(content), 20000):
            time.sleep(self.server.pause_s)
            outputfile.write(content[start : start + 20000])


@pytest.fixture
def server(painted_dataset):
    with _Server(painted_dataset(scenes=6, shards=3)) as running:
        yield running
        running.shutdown()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(downloads, "RETRY_PAUSES_S", (0.0, 0.0, 0.0))


def first_pass(place, data):
    stream = synthetic_stream(place, H36M, data, seed=3)
    return [next(stream) for _ in range(3)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataset_behind_http_streams_like_a_folder_each_shard_fetched_once(server, tmp_path, workers):
    near = first_pass(server.folder, config(None))
    far = first_pass(server.url, config(tmp_path, num_workers=workers))
    for ours, theirs in zip(far, near, strict=True):
        assert ours.keys == theirs.keys and torch.equal(ours.images, theirs.images)
    first_pass(server.url, config(tmp_path))
    assert set(server.asked.values()) == {1} and len(server.asked) == 3


def test_clips_behind_http_stream_like_a_folder_and_without_end(painted_clips, tmp_path):
    """Five batches of three are more than the twelve frames."""
    with _Server(painted_clips(clips=3, frames=4, shards=3)) as running:
        near, far = (
            real_stream(place, config(folder, real_batch_size=3), seed=3)
            for place, folder in ((running.folder, None), (running.url, tmp_path))
        )
        for _ in range(5):
            ours, theirs = next(far), next(near)
            assert ours.keys == theirs.keys and torch.equal(ours.images, theirs.images)
        running.shutdown()


def test_a_dropped_connection_is_tried_again(server, tmp_path, caplog):
    server.drops = 2
    assert sum(batch.size for batch in first_pass(server.url, config(tmp_path))) == 12
    assert sum(server.asked.values()) == 5
    assert "trying again" in caplog.text
    assert not list(tmp_path.glob("*.part"))


def test_a_connection_that_always_drops_is_one_line_that_names_the_shard(server, tmp_path):
    server.drops = 1000
    with pytest.raises(UserError, match=r"test-00000\d\.tar: 4 attempts failed") as caught:
        first_pass(server.url, config(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_slow_server_is_only_waited_for(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "_SILENCE_S", 1.0)
    server.pause_s = 0.4  # several chunks: longer than the silence that counts as a drop, but never silent so long
    assert max(path.stat().st_size for path in server.folder.glob("*.tar")) > 3 * 20000
    begin = time.perf_counter()
    assert sum(batch.size for batch in first_pass(server.url, config(tmp_path))) == 12
    assert time.perf_counter() - begin > 1.2
    assert set(server.asked.values()) == {1}


def test_a_shard_that_is_damaged_there_stops_the_run_or_is_skipped(server, tmp_path):
    shard = server.folder / "test-000001.tar"
    shard.write_bytes(shard.read_bytes()[:20000])
    with pytest.raises(UserError, match=r"test-000001\.tar.*sha256 is not dataset\.json's"):
        first_pass(server.url, config(tmp_path / "a"))
    stream = synthetic_stream(server.url, H36M, config(tmp_path / "b", skip_damaged=True), seed=3)
    keys = {key for _ in range(2) for key in next(stream).keys}
    assert len(keys) == 8 and not any(key.startswith(("00000002", "00000003")) for key in keys)
    next(stream)  # of the second pass, so that every shard was met
    assert [where.rsplit("/", 1)[1] for where in stream.damaged] == ["test-000001.tar"]


def test_a_shard_that_is_not_there_is_one_line_at_once(server, tmp_path):
    (server.folder / "test-000002.tar").unlink()
    with pytest.raises(UserError, match=r"test-000002\.tar: missing, though dataset\.json lists it"):
        first_pass(server.url, config(tmp_path))


def test_copies_not_used_for_longest_go_first(server, tmp_path):
    first_pass(server.url, config(tmp_path, download_limit_mb=0))
    assert len(list(tmp_path.glob("*.tar"))) == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of botocore
def test_a_dataset_in_s3_streams_like_a_folder(painted_dataset, tmp_path, monkeypatch):
    pytest.importorskip("s3fs")
    moto_server = pytest.importorskip("moto.server")
    fsspec = pytest.importorskip("fsspec")
    folder = painted_dataset(scenes=6, shards=3)
    storage = moto_server.ThreadedMotoServer(port=0, verbose=False)
    storage.start()
    try:
        host, port = storage.get_host_and_port()
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        files = fsspec.filesystem("s3")
        files.mkdir("bucket")
        files.put(str(folder) + "/", "bucket/people", recursive=True)
        near, far = first_pass(folder, config(None)), first_pass("s3://bucket/people", config(tmp_path, num_workers=1))
        for ours, theirs in zip(far, near, strict=True):
            assert ours.keys == theirs.keys and torch.equal(ours.images, theirs.images)
    finally:
        storage.stop()
