"""Picture sheets of the report: what runs see, estimate and paint again. Left limbs are warm, right limbs cool."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from posecore.codec import decode
from posecore.dataset import iterate_dataset, read_manifest
from posecore.figures import jpeg_url
from posecore.overlay import contact_sheet, draw_skeleton, enlarge
from posecore.skeleton import load_skeleton
from trainer.data.batch import Batch
from trainer.data.streams import evaluation_batches
from trainer.evaluation.metrics import Poses, per_subject_metrics
from trainer.training.checkpoint import LoadedModel
from trainer.training.gauges import collect_poses
from trainer.training.logs import PICTURES, channel_colours, colour_skeleton_image, joints_to_px

TRAINING_COLUMNS = (
    "input and estimate",
    "encoder's skeleton image",
    "drawing of the pose",
    "reconstruction",
    "partner x'",
)
_EXAMPLES = 6
_CELL_PX = 168


@dataclass(frozen=True)
class Picture:
    """An embedded picture. `source` is a data URL; `headings` name the columns of a strip."""

    source: str
    alt: str
    caption: str
    headings: tuple[str, ...] = ()


def synthetic_sheet(data: str) -> Picture:
    """The first view of twelve scenes with their stored joints."""
    total = read_manifest(data).num_samples
    cells: list[np.ndarray] = []
    scenes: set[int] = set()
    for _, members in iterate_dataset(data):
        sample = decode(members, ("image",))
        if sample.scene in scenes:
            continue
        scenes.add(sample.scene)
        factor = max(1, round(192 / sample.image.shape[0]))
        image = enlarge(sample.image, factor)
        for subject in sample.subjects:
            skeleton = load_skeleton(subject.skeleton)
            image = draw_skeleton(image, subject.joints_px * factor, skeleton, subject.visibility)
        cells.append(image)
        if len(cells) == 12 or len(scenes) == total:
            break
    return Picture(
        jpeg_url(contact_sheet(cells, columns=6)),
        "Grid of rendered subjects with their skeletons drawn in.",
        "Left limbs are warm, right limbs cool; a ring is a joint that something hides.",
    )


def training_strips(run: Path) -> list[Picture]:
    """The first and the last strip that a run painted while it learned."""
    strips = sorted((run / PICTURES).glob("*.png"))
    chosen = [strips[0], strips[-1]] if len(strips) > 1 else strips
    return [
        Picture(
            jpeg_url(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)),
            f"Rows of {', '.join(TRAINING_COLUMNS)} at step {int(path.stem.split('_')[1])}.",
            f"Step {int(path.stem.split('_')[1])}",
            TRAINING_COLUMNS,
        )
        for path in chosen
    ]


def extreme_samples(
    loaded: Sequence[LoadedModel], names: Sequence[str], data: str, max_samples: int, device: torch.device | str
) -> list[Picture]:
    """The samples on which the last run errs most and least: the truth, and below it every run's estimate.

    Args:
        max_samples: of `data` that are looked through, spread evenly.
    """
    poses = [_poses(model, data, max_samples, device) for model in loaded]
    errors = per_subject_metrics(poses[-1], loaded[-1].skeleton)["error_pct"]
    ranked = [row for row in np.argsort(errors) if np.isfinite(errors[row])]
    extremes = {"Worst": ranked[::-1][:_EXAMPLES], "Best": ranked[:_EXAMPLES]}
    keys = [poses[-1].keys[row] for rows in extremes.values() for row in rows]
    images = [_images(model, data, max_samples, set(keys)) for model in loaded]
    blank = np.full((_CELL_PX, _CELL_PX, 3), 127, np.uint8)
    pictures = []
    for title, rows in extremes.items():
        shown = [poses[-1].keys[row] for row in rows]
        cells = [
            _cell(_drawn(images[-1][key], poses[-1].true_joints_px[row], loaded[-1]))
            for key, row in zip(shown, rows, strict=True)
        ]
        for model, estimates, own in zip(loaded, poses, images, strict=True):
            at = {key: row for row, key in enumerate(estimates.keys)}
            cells += [
                _cell(_drawn(own[key], estimates.joints_px[at[key]], model)) if key in own else blank for key in shown
            ]
        headings = tuple(f"{errors[row]:.1f}% off: {key}" for row, key in zip(rows, shown, strict=True))
        pictures.append(
            Picture(
                jpeg_url(contact_sheet(cells, columns=len(shown), gap_px=2)),
                f"{title} samples of {names[-1]}: {', '.join(headings)}.",
                f"{title} of {names[-1]}. From the top: the truth, then {', '.join(names)}.",
                headings,
            )
        )
    return pictures


def pose_comparison(loaded: LoadedModel, name: str, real: str, device: torch.device | str) -> Picture:
    """Real frames and what the renderer makes of them from the right, a wrong and no pose."""
    batch = _real_batch(loaded, real, _EXAMPLES)
    model, skeleton = loaded.model, loaded.skeleton
    with torch.no_grad():
        images, partners = batch.images.to(device), batch.partners.to(device)
        output = model(images, loaded.config.model.answer_blend, partners=partners)
        shuffled = model.render(output.joints.roll(len(images) // 2, 0), partners)
        blank = model.render(None, partners)
    colours = channel_colours(skeleton, model.draw.groups)
    joints_px = joints_to_px(output.joints, images.shape[-1])
    columns = [
        [_drawn(_uint8(image), joints, loaded) for image, joints in zip(batch.images, joints_px, strict=True)],
        [_uint8(image) for image in batch.partners],
        [colour_skeleton_image(image, colours) for image in output.drawing],
        [_uint8(image) for image in output.reconstruction],
        [_uint8(image) for image in shuffled],
        [_uint8(image) for image in blank],
    ]
    cells = [_cell(column[row]) for row in range(batch.size) for column in columns]
    headings = ("x, with the estimate", "x'", "drawing", "from the right pose", "from a wrong pose", "from no pose")
    return Picture(
        jpeg_url(contact_sheet(cells, columns=len(columns), gap_px=2)),
        f"Rows of {', '.join(headings)}.",
        f"Real frames through {name}",
        headings,
    )


def real_predictions(
    loaded: Sequence[LoadedModel], names: Sequence[str], real: str, device: torch.device | str
) -> list[Picture]:
    """The same real frames under every run."""
    pictures = []
    for model, name in zip(loaded, names, strict=True):
        batch = _real_batch(model, real, 2 * _EXAMPLES)
        with torch.no_grad():
            joints = model.model(batch.images.to(device), model.config.model.answer_blend).joints
        joints_px = joints_to_px(joints, batch.images.shape[-1])
        cells = [
            _cell(_drawn(_uint8(image), points, model)) for image, points in zip(batch.images, joints_px, strict=True)
        ]
        pictures.append(
            Picture(
                jpeg_url(contact_sheet(cells, columns=_EXAMPLES, gap_px=2)),
                f"Real frames with the poses of {name}.",
                name,
            )
        )
    return pictures


def _poses(loaded: LoadedModel, data: str, max_samples: int, device: torch.device | str) -> Poses:
    batches = _labelled_batches(loaded, data, max_samples)
    return collect_poses(loaded.model, batches, loaded.config.model.answer_blend, torch.device(device))


def _images(loaded: LoadedModel, data: str, max_samples: int, keys: set[str]) -> dict[str, np.ndarray]:
    """The crops of those samples, as the run sees them."""
    return {
        key: _uint8(image)
        for batch in _labelled_batches(loaded, data, max_samples)
        for key, image in zip(batch.keys, batch.images, strict=True)
        if key in keys
    }


def _labelled_batches(loaded: LoadedModel, data: str, max_samples: int) -> Iterator[Batch]:
    settings = loaded.config.data
    return evaluation_batches(
        data, loaded.skeleton, settings.input_size_px, crop=settings.crop, max_samples=max_samples
    )


def _real_batch(loaded: LoadedModel, real: str, count: int) -> Batch:
    settings = loaded.config.data
    (batch,) = evaluation_batches(
        real, loaded.skeleton, settings.input_size_px, batch_size=count, crop=settings.real_crop, max_samples=count
    )
    return batch


def _drawn(image: np.ndarray, joints_px: np.ndarray, loaded: LoadedModel) -> np.ndarray:
    """A crop [S, S, 3] uint8, enlarged, with a skeleton."""
    factor = max(1, round(_CELL_PX / image.shape[0]))
    return draw_skeleton(enlarge(image, factor), factor * joints_px, loaded.skeleton)


def _cell(image: np.ndarray) -> np.ndarray:
    interpolation = cv2.INTER_AREA if image.shape[0] > _CELL_PX else cv2.INTER_CUBIC
    return cv2.resize(image, (_CELL_PX, _CELL_PX), interpolation=interpolation)


def _uint8(image: torch.Tensor) -> np.ndarray:
    array = image.detach().float().cpu().permute(1, 2, 0).numpy()
    return (array.clip(0, 1) * 255).round().astype(np.uint8)
