"""Pictures of benchmark samples, from files and videos: the last file is kept, videos are read once, forwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import av.error
import cv2
import numpy as np

from posecore.errors import UserError
from trainer.benchmarks.sample import BenchmarkSample, VideoFrame


class PictureReader:
    """Reads samples' pictures in the order in which readers yield them: frames of a video in rising order."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._image: np.ndarray | None = None
        self._frames: Iterator[av.VideoFrame] = iter(())
        self._next_frame = 0

    def read(self, sample: BenchmarkSample) -> np.ndarray | None:
        """[H, W, 3] uint8 RGB; None for a frame beyond the end of its video.

        Raises:
            UserError: the file is missing or does not decode.
        """
        picture = sample.picture
        image = self._read_frame(picture) if isinstance(picture, VideoFrame) else self._read_file(picture)
        if image is None or sample.silhouette is None:
            return image
        mask = _decode(sample.silhouette, cv2.IMREAD_GRAYSCALE)
        if mask.shape != image.shape[:2]:
            raise UserError(f"{sample.silhouette}: {mask.shape[::-1]} pixels, its picture has {image.shape[1::-1]}")
        return image * (mask > 0)[..., None].astype(np.uint8)

    def _read_file(self, path: Path) -> np.ndarray:
        if path != self._path:
            self._path, self._image = path, _decode(path, cv2.IMREAD_COLOR_RGB)
        return self._image

    def _read_frame(self, picture: VideoFrame) -> np.ndarray | None:
        if picture.video != self._path:
            self._path, self._frames, self._next_frame = picture.video, _frames(picture.video), 0
        if picture.frame < self._next_frame:
            raise ValueError(
                f"{picture.video}: frame {picture.frame} after {self._next_frame - 1}; read in rising order"
            )
        for frame in self._frames:
            self._next_frame += 1
            if self._next_frame > picture.frame:
                return frame.to_ndarray(format="rgb24")
        return None


def _frames(path: Path) -> Iterator[av.VideoFrame]:
    try:
        with av.open(str(path)) as container:
            yield from container.decode(video=0)
    except (av.error.FFmpegError, IndexError) as error:
        raise UserError(f"{path}: does not decode as video ({error})") from None


def _decode(path: Path, flags: int) -> np.ndarray:
    if not path.is_file():
        raise UserError(f"{path}: missing, though the labels name it; is the dataset unpacked whole?")
    image = cv2.imdecode(np.fromfile(path, np.uint8), flags) if path.stat().st_size else None
    if image is None:
        raise UserError(f"{path}: does not decode as a picture")
    return image
