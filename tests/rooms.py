"""A made room with a red stick person in it, and what was packed of it."""

from pathlib import Path

import cv2
import numpy as np

from posecore.codec import decode_real
from posecore.dataset import iterate_dataset
from posecore.sample import RealFrame

WIDTH, HEIGHT = 320, 240
RED = (220, 40, 30)


def scene_picture(person_x: int | None, swing: float = 0.0, seed: int = 0) -> np.ndarray:
    """A still, blotchy room with a red stick person, 110 px tall, whose arms and legs swing."""
    coarse = np.random.default_rng(seed).integers(110, 170, (12, 16, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    picture[::7, ::5] = 240
    if person_x is not None:
        reach = round(25 * np.sin(swing))
        hip, neck = (person_x, 140), (person_x, 90)
        cv2.line(picture, hip, neck, RED, 14)
        cv2.circle(picture, (person_x, 75), 10, RED, -1)
        for side in (-1, 1):
            cv2.line(picture, hip, (person_x + side * (8 + reach), 185), RED, 8)
            cv2.line(picture, neck, (person_x + side * (18 + reach), 120), RED, 6)
    return picture


def walking(frames: int = 40, step: float = 3.0, start: int = 80) -> list[np.ndarray]:
    return [scene_picture(round(start + step * i), 0.5 * i) for i in range(frames)]


def red_pixels(frame: RealFrame) -> np.ndarray:
    """Rows and columns of the person's pixels."""
    r, g, b = (frame.image[..., channel].astype(int) for channel in range(3))
    return np.argwhere(r - np.maximum(g, b) > 80)


def real_frames(folder: Path) -> list[RealFrame]:
    return [decode_real(members) for _, members in iterate_dataset(folder)]


def hand_held() -> list[np.ndarray]:
    """A camera that sways over a wide room, in whose middle the person swings arms and legs."""
    rng = np.random.default_rng(3)
    room = cv2.resize(rng.integers(110, 170, (24, 32, 3), dtype=np.uint8), (560, 400), interpolation=cv2.INTER_CUBIC)
    for x, y in rng.integers(0, [540, 380], (120, 2)):
        cv2.rectangle(
            room, (int(x), int(y)), (int(x) + 9, int(y) + 9), [int(v) for v in rng.integers(90, 190, 1)] * 3, -1
        )
    pictures = []
    for i in range(40):
        x, y = round(100 + 25 * np.sin(0.15 * i)), round(70 + 8 * np.cos(0.2 * i))
        view = room[y : y + HEIGHT, x : x + WIDTH].copy()
        person = scene_picture(260 - x, 0.5 * i)
        shifted = np.roll(person, 70 - y, axis=0)
        is_person = shifted[..., 0].astype(int) - shifted[..., 1:].max(axis=-1) > 80
        view[is_person] = RED
        pictures.append(view)
    return pictures
