"""Fixtures that several tests share: the real bodies and motions, a tiny recipe that needs no Blender, and videos."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import settings

from synthgen import catalog
from synthgen.library import SubjectLibrary
from synthgen.recipe import Recipe, load_recipe

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture(scope="session")
def library() -> SubjectLibrary:
    """The human body and the motion clips, fetched and baked on first use."""
    return catalog.load_library(load_recipe("tiny_humans"))


@pytest.fixture
def tiny_recipe() -> Recipe:
    return load_recipe("tiny_humans")


@pytest.fixture(scope="session")
def write_video() -> Callable[..., Path]:
    """`write_video(path, images, times_ms=None, rate=10, aspect=None)`: every frame at its own time."""

    def write(
        path: Path,
        images: Sequence[np.ndarray],
        times_ms: Sequence[int] | None = None,
        rate: int = 10,
        aspect: Fraction | None = None,
        codec: str = "mpeg4",
    ) -> Path:
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=rate)
            has_alpha = images[0].shape[2] == 4
            stream.width, stream.height = images[0].shape[1], images[0].shape[0]
            stream.pix_fmt = "rgba" if has_alpha else "yuv420p"
            stream.codec_context.time_base = Fraction(1, 1000)
            stream.bit_rate = 4_000_000
            if aspect is not None:
                stream.codec_context.sample_aspect_ratio = aspect
            for index, image in enumerate(images):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgba" if has_alpha else "rgb24")
                frame.pts = times_ms[index] if times_ms is not None else round(1000 * index / rate)
                frame.time_base = Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return write
