"""Videos that the tests of packing share; nobody changes them in place."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from tests.rooms import walking


@pytest.fixture(scope="session")
def walk(tmp_path_factory: pytest.TempPathFactory, write_video: Callable[..., Path]) -> Path:
    """40 frames of a red stick person who walks through a room, 25 a second."""
    return write_video(tmp_path_factory.mktemp("walk") / "walk.mp4", walking(), rate=25)


@pytest.fixture(scope="session")
def broken_off(tmp_path_factory: pytest.TempPathFactory, walk: Path) -> Path:
    """The same, whose second half does not decode."""
    content = bytearray(walk.read_bytes())
    damaged = slice(len(content) // 2, len(content) * 3 // 4)
    noise = np.random.default_rng(0).integers(0, 256, damaged.stop - damaged.start, dtype=np.uint8)
    content[damaged] = noise.tobytes()
    path = tmp_path_factory.mktemp("broken") / "broken_off.mp4"
    path.write_bytes(content)
    return path


@pytest.fixture(scope="session")
def sound_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An mp4 that holds sound and no picture."""
    path = tmp_path_factory.mktemp("sound") / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
