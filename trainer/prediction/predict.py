"""Poses for pictures and video that nobody labelled: PosePredictor, JSON predictions, overlays.

A prediction is judged in the picture it came from: keypoints are in its pixels, (0, 0) the outer corner of the top-
left one. 3D joints have camera axes (x right, y down, z forward), metres at the scale of the template, the root at 0:
one picture tells neither the distance nor the true size. Rotations are local in 6D form, from the rest pose; the
root's is in camera axes.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import cv2
import numpy as np
import torch

from posecore.codec import decode_image, encode_image, image_member
from posecore.dataset import MANIFEST_NAME, iterate_dataset
from posecore.errors import UserError
from posecore.overlay import contact_sheet, draw_skeleton
from posecore.skeleton import Skeleton, joint_map, load_skeleton
from posecore.transforms import local_from_global, rotation_6d_from_matrix
from trainer.data.augment import centre_warp, warp_image
from trainer.data.config import CropConfig
from trainer.training.checkpoint import LoadedModel, load_model

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"})
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})

_OVERLAY_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
_BATCH_SIZE = 16
_SHEET_SIDE_PX = 256
_SHEET_PICTURES = 40


@dataclass(frozen=True)
class Picture:
    """Something to predict on.

    Attributes:
        name: of the file; frames of a video are called "clip.mp4#000012".
        image: [H, W, 3] uint8 RGB. box: [x, y, width, height] of the subject, or None for the whole picture.
    """

    name: str
    image: np.ndarray
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class Prediction:
    """One subject's pose; K joints of `skeleton`.

    Attributes:
        box: [x, y, width, height] that was looked at. keypoints: [K, 3] x, y, confidence; NaN, NaN, 0 for a joint
            that the trained skeleton cannot express.
        joints_cam_m: [K, 3], NaN likewise. rotations: [K, 6], or None for another skeleton than the trained one.
    """

    image: str
    box: tuple[float, float, float, float]
    skeleton: str
    keypoints: np.ndarray
    joints_cam_m: np.ndarray
    rotations: np.ndarray | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; what is missing is null."""
        return {
            "image": self.image,
            "box": [round(value, 2) for value in self.box],
            "skeleton": self.skeleton,
            "keypoints": _plain(self.keypoints, 3),
            "joints_cam_m": _plain(self.joints_cam_m, 4),
            "rotations": None if self.rotations is None else _plain(self.rotations, 5),
        }


class PosePredictor:
    """A trained model as a function from a picture to a pose.

    Example:
        predictor = PosePredictor.load("runs/finetune")
        prediction = predictor(image)  # [H, W, 3] uint8 RGB
    """

    def __init__(
        self, loaded: LoadedModel, skeleton: Skeleton | None = None, device: torch.device | str = "cpu"
    ) -> None:
        self._loaded = loaded
        self._device = device
        self.skeleton = skeleton or loaded.skeleton
        self._weights = joint_map(loaded.skeleton, self.skeleton)
        if np.isnan(self._weights).all():
            raise UserError(
                f"skeleton {self.skeleton.name} is not of the {loaded.skeleton.superset} that the model was trained on"
            )

    @classmethod
    def load(
        cls, run: str | Path, skeleton: str | None = None, device: torch.device | str = "cpu", weights: str = "ema"
    ) -> PosePredictor:
        """Load a run's last checkpoint, or one step_... folder.

        Args:
            skeleton: joints to answer in, such as "coco17"; by default those that were trained.

        Raises:
            UserError: no such checkpoint or skeleton.
        """
        return cls(load_model(run, device, weights), None if skeleton is None else load_skeleton(skeleton), device)

    def __call__(self, image: np.ndarray, box: tuple[float, float, float, float] | None = None) -> Prediction:
        """The pose of the subject in the box, or in the whole picture.

        Args:
            image: [H, W, 3] uint8 RGB.
            box: x, y, width, height in pixels.
        """
        return next(self.predict([Picture("", image, box)]))

    def predict(self, pictures: Iterable[Picture]) -> Iterator[Prediction]:
        """Predictions in the order of the pictures, computed in batches."""
        batch: list[Picture] = []
        for picture in pictures:
            batch.append(picture)
            if len(batch) == _BATCH_SIZE:
                yield from self._predict_batch(batch)
                batch = []
        if batch:
            yield from self._predict_batch(batch)

    @torch.no_grad()
    def _predict_batch(self, pictures: list[Picture]) -> Iterator[Prediction]:
        size = self._loaded.config.data.input_size_px
        warps = [_warp_of(picture, self._loaded.config.data.crop, size) for picture in pictures]
        crops = np.stack([warp_image(picture.image, warp) for picture, warp in zip(pictures, warps, strict=True)])
        images = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
        output = self._loaded.model(images.to(self._device), blend=self._loaded.config.model.answer_blend)
        joints = (output.joints.float().cpu().numpy() + 1) * size / 2
        confidence = output.pose_2d.confidence.float().cpu().numpy()
        joints_cam = output.pose_3d.joints.float().cpu().numpy()
        rotations = local_from_global(output.pose_3d.rotations.float().cpu().numpy(), self._loaded.skeleton.parents)
        is_own = self.skeleton.name == self._loaded.skeleton.name
        for i, (picture, warp) in enumerate(zip(pictures, warps, strict=True)):
            in_picture = (joints[i] - warp.matrix[:, 2]) / warp.zoom
            known = np.isfinite(self._weights).all(axis=1)
            mapped_confidence = np.where(known, np.nan_to_num(self._weights) @ confidence[i], 0.0)
            height, width = picture.image.shape[:2]
            yield Prediction(
                image=picture.name,
                box=picture.box or (0.0, 0.0, float(width), float(height)),
                skeleton=self.skeleton.name,
                keypoints=np.concatenate([self._weights @ in_picture, mapped_confidence[:, None]], axis=1),
                joints_cam_m=self._weights @ joints_cam[i],
                rotations=rotation_6d_from_matrix(rotations[i]) if is_own else None,
            )


def predict_files(
    run: str | Path,
    inputs: list[Path],
    out: Path,
    boxes: Path | None = None,
    skeleton: str | None = None,
    overlay: Path | None = None,
    device: torch.device | str = "cpu",
) -> list[Prediction]:
    """Predict on files and write JSON, and an overlay where asked; frames are streamed, never all held.

    Args:
        boxes: JSON as `read_boxes` takes it. overlay: as `write_overlay` takes it.

    Raises:
        UserError: something cannot be read, or no pose can be given in that skeleton.
    """
    predictor = PosePredictor.load(run, skeleton, device)
    ahead, pictures = itertools.tee(read_pictures(inputs, None if boxes is None else read_boxes(boxes)))
    kept: list[Prediction] = []

    def keeping() -> Iterator[Prediction]:
        for prediction in predictor.predict(ahead):
            kept.append(prediction)
            yield prediction

    if overlay is not None:
        write_overlay(overlay, pictures, keeping(), frame_rate(inputs))
    else:
        # Drawing nothing, the pictures need not be held either.
        del pictures
        kept.extend(predictor.predict(ahead))
    write_predictions(out, kept)
    return kept


def read_pictures(inputs: list[Path], boxes: dict[str, dict[int, list[float]]] | None = None) -> Iterator[Picture]:
    """Pictures, folders of pictures, videos and packed datasets, one picture after the other.

    Raises:
        UserError: a path does not exist, is of an unknown type, or does not decode.
    """
    boxes = boxes or {}
    for path in inputs:
        if (path / MANIFEST_NAME).is_file():
            for key, members in iterate_dataset(path):
                yield Picture(key, decode_image(image_member(members), key), _box_at(boxes.get(key), 0))
        elif path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES)
            if not inside:
                raise UserError(f"{path}: no picture or video in this folder")
            yield from read_pictures(inside, boxes)
        elif not path.exists():
            raise UserError(f"{path}: no such file or folder; give pictures, videos or folders of them")
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR_RGB) if path.stat().st_size else None
            if image is None:
                raise UserError(f"{path}: does not decode as a picture")
            yield Picture(path.name, image, _box_at(boxes.get(path.name), 0))
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            for index, image in enumerate(_video_frames(path)):
                yield Picture(f"{path.name}#{index:06d}", image, _box_at(boxes.get(path.name), index))
        else:
            raise UserError(f"{path}: unknown type {path.suffix!r}; give pictures, videos or folders of them")


def frame_rate(inputs: list[Path]) -> float:
    """Frames a second of the first video among the inputs; 25 if there is none."""
    for path in inputs:
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
            with av.open(str(path)) as container:
                return float(container.streams.video[0].average_rate or 25)
    return 25.0


def read_boxes(path: Path) -> dict[str, dict[int, list[float]]]:
    """Boxes by file name and frame, from {"a.mp4": [x, y, w, h] or {"frame": [x, y, w, h]}} or a list of predictions.

    Raises:
        UserError: not such a file.
    """
    try:
        content = json.loads(path.read_text())
        if isinstance(content, list):
            by_name: dict[str, dict[int, list[float]]] = {}
            for entry in content:
                name, _, frame = entry["image"].partition("#")
                by_name.setdefault(name, {})[int(frame or 0)] = _checked_box(entry["box"])
            return by_name
        return {
            name: {int(f): _checked_box(b) for f, b in (given.items() if isinstance(given, dict) else [(0, given)])}
            for name, given in content.items()
        }
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(
            f'{path}: cannot be read as boxes ({error}); write {{"a.mp4": [x, y, w, h]}} or a list of predictions'
        ) from None


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> None:
    """A JSON list, one object a subject."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(prediction.to_dict()) for prediction in predictions)
    path.write_text(f"[\n{lines}\n]\n")


def draw_prediction(image: np.ndarray, prediction: Prediction) -> np.ndarray:
    """A copy of the picture with the predicted skeleton; joints that are not expressible are left out."""
    return draw_skeleton(image, prediction.keypoints[:, :2], load_skeleton(prediction.skeleton))


def write_overlay(path: Path, pictures: Iterable[Picture], predictions: Iterable[Prediction], rate: float = 25) -> None:
    """Draw predictions: into a video, a picture, or a folder, by the suffix of `path`.

    A picture (.png) shows a single prediction at full size, several as a sheet of at most 40 spread over them all. A
    path without suffix becomes a folder with one PNG for each picture.

    Raises:
        UserError: the suffix is neither a video's nor a picture's.
    """
    suffix = path.suffix.lower()
    if suffix not in VIDEO_SUFFIXES | _OVERLAY_SUFFIXES | {""}:
        raise UserError(f"{path}: an overlay is a picture (.png), a video (.mp4) or a folder (no suffix)")
    path.parent.mkdir(parents=True, exist_ok=True)
    pairs = zip(pictures, predictions, strict=True)
    if suffix in VIDEO_SUFFIXES:
        _write_video(path, (draw_prediction(picture.image, prediction) for picture, prediction in pairs), rate)
    elif suffix in _OVERLAY_SUFFIXES:
        _write_image(path, _sheet(draw_prediction(picture.image, prediction) for picture, prediction in pairs))
    else:
        path.mkdir(exist_ok=True)
        for picture, prediction in pairs:
            name = picture.name.replace("#", "-")
            _write_image(path / f"{name}.png", draw_prediction(picture.image, prediction))


def _warp_of(picture: Picture, crop: CropConfig, size: int) -> Any:
    """The crop that training would take round the box; without a box the whole picture."""
    height, width = picture.image.shape[:2]
    around = crop if picture.box is not None else crop.model_copy(update={"margin": 1.0})
    box = np.array(picture.box if picture.box is not None else (0, 0, width, height), dtype=np.float64)
    return centre_warp(box, width, height, around.model_copy(update={"around": "subject"}), size)


def _video_frames(path: Path) -> Iterator[np.ndarray]:
    count = 0
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                count += 1
                # The flag is the counter-clockwise turn that makes the frame upright.
                yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), k=round(frame.rotation / 90)))
    except (av.error.FFmpegError, IndexError) as error:
        raise UserError(f"{path}: does not decode as video after {count} frames ({error})") from None


def _write_video(path: Path, images: Iterable[np.ndarray], rate: float) -> None:
    with av.open(str(path), "w") as container:
        stream = None
        for image in images:
            if stream is None:
                # Encoders want even sides; every frame is fitted to the first one's.
                height, width = (side - side % 2 for side in image.shape[:2])
                stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001))
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            if image.shape[:2] != (height, width):
                image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        if stream is not None:
            container.mux(stream.encode())


def _sheet(images: Iterable[np.ndarray]) -> np.ndarray:
    """One image as it is, several as a sheet; of many, every second is dropped whenever there are too many."""
    first, cells, step = None, [], 1
    for index, image in enumerate(images):
        first = image if index == 0 else first
        if index % step == 0:
            cells.append(_fit(image, _SHEET_SIDE_PX))
        if len(cells) > 2 * _SHEET_PICTURES:
            cells, step = cells[::2], 2 * step
    if first is None:
        raise UserError("there is nothing to draw: no picture was given")
    if len(cells) == 1:
        return first
    chosen = np.linspace(0, len(cells) - 1, min(len(cells), _SHEET_PICTURES)).round().astype(int)
    return contact_sheet([cells[i] for i in chosen], columns=8)


def _write_image(path: Path, image: np.ndarray) -> None:
    path.write_bytes(encode_image(image, "jpg" if path.suffix.lower() in (".jpg", ".jpeg") else "png"))


def _fit(image: np.ndarray, side: int) -> np.ndarray:
    """The whole picture inside a white square of that side."""
    height, width = image.shape[:2]
    factor = side / max(height, width)
    small = cv2.resize(
        image, (max(1, round(width * factor)), max(1, round(height * factor))), interpolation=cv2.INTER_AREA
    )
    canvas = np.full((side, side, 3), 255, np.uint8)
    canvas[: small.shape[0], : small.shape[1]] = small
    return canvas


def _box_at(by_frame: dict[int, list[float]] | None, frame: int) -> tuple[float, float, float, float] | None:
    """The box of a frame, interpolated between those given."""
    if not by_frame:
        return None
    known = sorted(by_frame)
    x, y, width, height = (float(np.interp(frame, known, [by_frame[k][i] for k in known])) for i in range(4))
    return x, y, width, height


def _checked_box(box: Any) -> list[float]:
    values = [float(value) for value in box]
    if len(values) != 4 or min(values[2:]) <= 0:
        raise ValueError(f"a box is [x, y, width, height] with a size above 0, got {box}")
    return values


def _plain(values: np.ndarray, digits: int) -> list[list[float | None]]:
    return [[round(float(v), digits) if np.isfinite(v) else None for v in row] for row in values]
