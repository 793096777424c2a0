"""PosePredictor: a trained model as a function from pictures to poses.

A prediction is judged in the picture it came from: keypoints are in its pixels, (0, 0) the outer corner of the top-
left one. 3D joints have camera axes (x right, y down, z forward), metres at the scale of the template, the root at 0:
one picture tells neither the distance nor the true size. Rotations are local in 6D form, from the rest pose; the
root's is in camera axes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np

from posecore.errors import UserError
from posecore.pictures import Picture, Subject, read_image, to_rgb
from posecore.skeleton import Skeleton, joint_map, load_skeleton
from posecore.transforms import matrix_from_rotation_6d, rotation_6d_from_matrix
from trainer.data.augment import Warp, centre_warp, warp_image
from trainer.data.config import CropConfig
from trainer.prediction.networks import Network, NetworkOutput, open_network

Image = np.ndarray | str | Path
Box = Sequence[float] | np.ndarray
Boxes = Box | Sequence[Box] | np.ndarray

_NO_PIXELS = np.empty((0, 0, 3), np.uint8)
_MIRROR_6D = np.array([1.0, -1.0, -1.0, -1.0, 1.0, 1.0])
"""What mirroring about x = 0 on both sides (M R M) makes of the first two columns of a rotation."""


@dataclass(frozen=True)
class Prediction:
    """One subject's pose; K joints of `skeleton`.

    Attributes:
        image: name of the picture. box: [x, y, width, height] that was looked at.
        keypoints: [K, 3] x, y, confidence in 0..1; NaN, NaN, 0 for a joint that the trained skeleton cannot express.
        joints_cam_m: [K, 3], NaN likewise. rotations: [K, 6], or None for another skeleton than the trained one.
        id: of the subject, the same through a clip. box_score: of the detector that found it, else 1.
        category: of that detector, as COCO numbers them.
        clip: what the picture is a frame of; its own name if it stands alone. frame: its number there. time_s: from
            the clip's first frame.
    """

    image: str
    box: tuple[float, float, float, float]
    skeleton: str
    keypoints: np.ndarray
    joints_cam_m: np.ndarray
    rotations: np.ndarray | None
    id: int = 1
    box_score: float = 1.0
    category: int = 1
    clip: str = ""
    frame: int = 0
    time_s: float = 0.0

    @property
    def score(self) -> float:
        """Mean confidence of the joints that can be expressed, times the box's score."""
        return self.box_score * float(self.keypoints[np.isfinite(self.keypoints[:, 0]), 2].mean())

    def in_skeleton(self, name: str) -> Prediction:
        """The same pose in the joints of another skeleton of the body, such as "coco17".

        Joints that cannot be expressed are NaN, and rotations are None: they belong to the trained tree.

        Raises:
            UserError: no such skeleton, or it is of another body.
        """
        if name == self.skeleton:
            return self
        weights = skeleton_weights(load_skeleton(self.skeleton), load_skeleton(name))
        known = np.isfinite(weights).all(axis=1)
        confidence = np.where(known, np.nan_to_num(weights) @ self.keypoints[:, 2], 0.0)
        keypoints = np.concatenate([weights @ self.keypoints[:, :2], confidence[:, None]], axis=1)
        return replace(
            self, skeleton=name, keypoints=keypoints, joints_cam_m=weights @ self.joints_cam_m, rotations=None
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; what is missing is null."""
        return {
            "image": self.image,
            "clip": self.clip,
            "frame": self.frame,
            "time_s": round(self.time_s, 6),
            "id": self.id,
            "box": [round(value, 2) for value in self.box],
            "box_score": round(self.box_score, 4),
            "skeleton": self.skeleton,
            "keypoints": _plain(self.keypoints, 3),
            "joints_cam_m": _plain(self.joints_cam_m, 4),
            "rotations": None if self.rotations is None else _plain(self.rotations, 5),
        }


class PosePredictor:
    """A trained model as a function from pictures to poses.

    Example:
        predictor = PosePredictor.load("runs/finetune")          # or "model.onnx", which needs no torch
        (pose,) = predictor("photo.jpg")                         # the subject fills the picture
        pose.keypoints                                           # [K, 3] x, y, confidence in pixels
        poses = predictor(image, boxes=[[40, 10, 90, 200]])      # [H, W, 3] uint8 RGB; one pose a box
        many = predictor([image, "photo.jpg"], boxes=[[box, other_box], None])
    """

    def __init__(
        self, network: Network, skeleton: Skeleton | None = None, flip_test: bool = False, batch_size: int = 16
    ) -> None:
        if batch_size < 1:
            raise UserError(f"batch size must be 1 or more, got {batch_size}")
        self._network = network
        self._flip_test = flip_test
        self._batch_size = batch_size
        self.skeleton = skeleton or network.skeleton
        skeleton_weights(network.skeleton, self.skeleton)

    @classmethod
    def load(
        cls,
        checkpoint: str | Path,
        *,
        skeleton: str | None = None,
        device: Any = "auto",
        weights: str = "ema",
        flip_test: bool = False,
        batch_size: int = 16,
    ) -> PosePredictor:
        """Open a run folder (its last checkpoint), one of its step_... folders, or what `trainer export` wrote.

        Args:
            skeleton: joints to answer in, such as "coco17"; by default those that were trained.
            device: "auto", "cpu", "cuda", or a torch device; an exported model always runs on the CPU.
            weights: "ema" (the running mean of the weights, better) or "model".
            flip_test: predict on the mirrored crop as well and answer the mean; twice the time, a little better.
            batch_size: crops that the network sees at a time.

        Raises:
            UserError: no such checkpoint or skeleton, or it is damaged.
        """
        wanted = None if skeleton is None else load_skeleton(skeleton)
        return cls(open_network(checkpoint, device, weights), wanted, flip_test, batch_size)

    @overload
    def __call__(self, images: Image, boxes: Boxes | None = None) -> list[Prediction]: ...

    @overload
    def __call__(
        self, images: Sequence[Image], boxes: Sequence[Boxes | None] | None = None
    ) -> list[list[Prediction]]: ...

    def __call__(self, images, boxes=None):
        """The poses in one picture, or in each of several.

        Args:
            images: a path, or uint8 or uint16 [H, W] grey, [H, W, 3] RGB or [H, W, 4] RGB and alpha; or a list of
                such, or an array [N, H, W, C].
            boxes: x, y, width, height in pixels; one box or several. For several pictures a list with an entry for
                each; None stands for the whole picture.

        Returns:
            A list with a prediction for each box, in their order; for several pictures a list of such lists. An
            array's predictions have an empty name.

        Raises:
            UserError: a file does not decode. ValueError: an array or a box has no meaning here.
        """
        if isinstance(images, (list, tuple)) or (isinstance(images, np.ndarray) and images.ndim == 4):
            boxes = [None] * len(images) if boxes is None else boxes
            if len(boxes) != len(images):
                raise ValueError(f"{len(images)} pictures need as many entries of boxes, got {len(boxes)}")
            pairs = ((_as_picture(image), _as_subjects(own)) for image, own in zip(images, boxes, strict=True))
            return list(self.predict(pairs))
        return next(self.predict([(_as_picture(images), _as_subjects(boxes))]))

    def predict(self, pairs: Iterable[tuple[Picture, Sequence[Subject]]]) -> Iterator[list[Prediction]]:
        """Predictions for each picture's subjects, in order, computed in batches; pictures are not kept.

        Args:
            pairs: pictures (`trainer.prediction.pictures.read_pictures`) with their subjects
                (`posecore.boxes`).
        """
        waiting: list[tuple[Picture, list[tuple[Subject, Warp]]]] = []
        crops: list[np.ndarray] = []
        for picture, subjects in pairs:
            warps = [_warp_of(picture.image, subject.box, self._network) for subject in subjects]
            crops += [warp_image(picture.image, warp) for warp in warps]
            # The pixels of a large picture need not wait for the batch to fill.
            light = replace(picture, image=_NO_PIXELS, alpha=None)
            whole = (0.0, 0.0, float(picture.image.shape[1]), float(picture.image.shape[0]))
            found = [replace(one, box=one.box or whole, id=one.id or n) for n, one in enumerate(subjects, start=1)]
            waiting.append((light, list(zip(found, warps, strict=True))))
            if len(crops) >= self._batch_size:
                yield from self._answers(waiting, crops)
                waiting, crops = [], []
        yield from self._answers(waiting, crops)

    def _answers(
        self, waiting: list[tuple[Picture, list[tuple[Subject, Warp]]]], crops: list[np.ndarray]
    ) -> Iterator[list[Prediction]]:
        rows: Iterator[tuple[np.ndarray, ...]] = iter(())
        if crops:
            chunks = range(0, len(crops), self._batch_size)
            outputs = [self._run(np.stack(crops[start : start + self._batch_size])) for start in chunks]
            rows = zip(*(np.concatenate(parts) for parts in zip(*outputs, strict=True)), strict=True)
        for picture, subjects in waiting:
            yield [self._prediction(picture, subject, warp, next(rows)) for subject, warp in subjects]

    def _run(self, crops: np.ndarray) -> NetworkOutput:
        output = self._network(crops)
        if not self._flip_test:
            return output
        mirrored = self._network(np.ascontiguousarray(crops[:, :, ::-1]))
        return mean_of(output, mirror(mirrored, self._network.skeleton, crops.shape[2]))

    def _prediction(self, picture: Picture, subject: Subject, warp: Warp, row: tuple[np.ndarray, ...]) -> Prediction:
        keypoints, joints_cam, rotations = row
        in_picture = (keypoints[:, :2] - warp.matrix[:, 2]) / warp.zoom
        own = Prediction(
            image=picture.name,
            box=subject.box,
            skeleton=self._network.skeleton.name,
            keypoints=np.concatenate([in_picture, keypoints[:, 2:]], axis=1),
            joints_cam_m=joints_cam,
            rotations=rotations,
            id=subject.id,
            box_score=subject.score,
            category=subject.category,
            clip=picture.clip or picture.name,
            frame=picture.frame,
            time_s=picture.time_s,
        )
        return own.in_skeleton(self.skeleton.name)


def mirror(output: NetworkOutput, skeleton: Skeleton, size: int) -> NetworkOutput:
    """What the network said of mirrored crops, as an answer for the crops themselves.

    Left and right joints change places, x is counted from the other edge, and rotations are mirrored on both sides
    (the rest pose is symmetric about x = 0).
    """
    swap = list(skeleton.swap)
    keypoints, joints_cam = output.keypoints[:, swap].copy(), output.joints_cam_m[:, swap].copy()
    keypoints[..., 0] = size - keypoints[..., 0]
    joints_cam[..., 0] *= -1
    return NetworkOutput(keypoints, joints_cam, output.rotations[:, swap] * _MIRROR_6D)


def mean_of(first: NetworkOutput, second: NetworkOutput) -> NetworkOutput:
    """Two answers as one; each joint counts by its confidence, rotations become rotations again."""
    weight = first.keypoints[..., 2:] + second.keypoints[..., 2:]
    share = np.where(weight > 0, first.keypoints[..., 2:] / np.maximum(weight, 1e-12), 0.5)
    parts = [share * one + (1 - share) * other for one, other in zip(first, second, strict=True)]
    keypoints = np.concatenate([parts[0][..., :2], weight / 2], axis=-1)
    return NetworkOutput(keypoints, parts[1], rotation_6d_from_matrix(matrix_from_rotation_6d(parts[2])))


def skeleton_weights(trained: Skeleton, wanted: Skeleton) -> np.ndarray:
    """[K wanted, J trained] weights that give the wanted joints; a row of NaN for one that cannot be expressed.

    Raises:
        UserError: none can.
    """
    weights = joint_map(trained, wanted)
    if np.isnan(weights).all():
        raise UserError(f"skeleton {wanted.name} is not of the {trained.superset} that the model was trained on")
    return weights


def _warp_of(image: np.ndarray, box: tuple[float, float, float, float] | None, network: Network) -> Warp:
    """The crop that training would take round the box; without a box the whole picture."""
    height, width = image.shape[:2]
    crop = CropConfig(around="subject", margin=network.crop_margin if box is not None else 1.0)
    return centre_warp(np.array(box or (0, 0, width, height), np.float64), width, height, crop, network.input_size_px)


def _as_picture(image: Image) -> Picture:
    if isinstance(image, np.ndarray):
        pixels, alpha = to_rgb(image)
        return Picture("", pixels, alpha)
    if isinstance(image, (str, Path)):
        pixels, alpha = read_image(Path(image))
        return Picture(Path(image).name, pixels, alpha)
    raise ValueError(f"a picture is a path or a numpy array, got {type(image).__name__}")


def _as_subjects(boxes: Boxes | None) -> list[Subject]:
    if boxes is None:
        return [Subject(None)]
    table = np.asarray(boxes, dtype=np.float64)
    if table.size == 0:
        return []
    table = np.atleast_2d(table)
    if table.ndim != 2 or table.shape[1] != 4 or not np.isfinite(table).all() or table[:, 2:].min() <= 0:
        raise ValueError(f"a box is x, y, width, height with a size above 0, got {np.asarray(boxes).tolist()}")
    return [Subject(tuple(row)) for row in table.tolist()]


def _plain(values: np.ndarray, digits: int) -> list[list[float | None]]:
    return [[round(float(v), digits) if np.isfinite(v) else None for v in row] for row in values]
