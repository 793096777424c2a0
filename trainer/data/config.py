"""What the data part of a training configuration may say: sizes, cropping, augmentation and caching.

Strict and frozen: an unknown key or an impossible range is refused with the path to the field. Ranges are (low,
high), probabilities lie in 0..1, lengths carry their unit. `trainer.config` embeds `DataConfig` as its `data`
section.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    low, high = value
    if low > high:
        raise ValueError(f"low must not be above high, got low={low}, high={high}")
    return value


Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
PositiveRange = Annotated[tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]], AfterValidator(_ordered)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CropConfig(_Section):
    """How a square crop is laid round a subject, and how it is jittered in training."""

    around: Literal["subject", "frame"] = Field(
        "subject", description="Crop round the subject's box, or take the whole frame (its largest centred square)."
    )
    margin: float = Field(1.25, gt=0, description="Side of the unjittered crop as a multiple of the box's longer side.")
    scale: PositiveRange = Field((0.85, 1.2), description="Random factor on the crop's side, log-uniform.")
    shift: float = Field(
        0.08, ge=0, le=1, description="Random shift, at most this fraction of the crop's side each way."
    )
    roll_deg: float = Field(15.0, ge=0, le=180, description="Random roll about the optical axis, normal, this sigma.")
    roll_probability: Probability = 0.5
    flip_probability: Probability = Field(0.5, description="Horizontal mirroring: image, joints, sides and rotations.")


class PhotometricConfig(_Section):
    """What may happen to the pixels; the labels stay. Both images of a pair get the same draws of colour."""

    brightness: float = Field(0.25, ge=0, lt=1, description="Gain drawn from 1 +- this.")
    contrast: float = Field(0.3, ge=0, lt=1, description="Factor about the image's mean drawn from 1 +- this.")
    saturation: float = Field(0.4, ge=0, le=1, description="Factor about the grey image drawn from 1 +- this.")
    white_balance: float = Field(0.1, ge=0, lt=1, description="Gain of each colour channel drawn from 1 +- this.")
    grayscale_probability: Probability = 0.05
    blur_probability: Probability = 0.2
    blur_sigma_px: PositiveRange = Field((0.3, 1.2), description="Gaussian sigma at the network's input size.")
    noise_probability: Probability = 0.2
    noise_sigma: Range = Field((0.005, 0.03), description="Gaussian sensor noise, of the range 0..1.")
    cutout_probability: Probability = 0.15
    cutout_size: PositiveRange = Field((0.1, 0.3), description="Side of the erased rectangle, fraction of the image.")
    background_swap_probability: Probability = Field(
        0.25, description="Paste the subject, by its mask, on another picture's background (synthetic samples only)."
    )


class CurriculumConfig(_Section):
    """Which cameras are learned from at first: those in front of the subject, then ever more, then all."""

    azimuth_deg: tuple[Annotated[float, Field(gt=0, le=180)], Annotated[float, Field(gt=0, le=180)]] = Field(
        (60.0, 180.0), description="Farthest that the camera may stand from the subject's front: at first, in the end."
    )
    frames: int = Field(..., ge=1, description="The limit goes from one to the other, linearly, over so many frames.")

    def limit_deg(self, taken: int) -> float:
        """The limit after `taken` frames of a dataset."""
        first, last = self.azimuth_deg
        return first + (last - first) * min(taken / self.frames, 1.0)


class DataConfig(_Section):
    """Everything about turning shards into batches."""

    input_size_px: int = Field(128, ge=16, le=1024, description="Side of the square image that the network sees.")
    synthetic_batch_size: int = Field(16, ge=1)
    real_batch_size: int = Field(16, ge=1)
    prior_batch_size: int = Field(64, ge=1, description="Unpaired poses in a batch of the pose prior.")
    crop: CropConfig = CropConfig()
    real_crop: CropConfig = CropConfig(around="frame", margin=1.0, scale=(0.85, 1.0), shift=0.04, roll_deg=5.0)
    photometric: PhotometricConfig = PhotometricConfig()
    real_photometric: PhotometricConfig = PhotometricConfig(
        brightness=0.1, contrast=0.1, saturation=0.2, white_balance=0.05, grayscale_probability=0.0,
        blur_probability=0.0, noise_probability=0.0, cutout_probability=0.0, background_swap_probability=0.0,
    )  # fmt: skip
    background_folder: str | None = Field(
        None, description="Packed shards whose pictures serve as swapped-in backgrounds; None: other samples' own."
    )
    curriculum: CurriculumConfig | None = Field(
        None, description="Leave out synthetic frames whose camera stands too far round the subject, less and less so."
    )
    min_visible_joints: int = Field(4, ge=0, description="Samples whose crop holds fewer joints are left out, counted.")
    pair_min_gap_frames: int = Field(5, ge=1, description="Least distance in source frames of a real pair (x, x').")
    neighbour_max_gap_frames: int = Field(
        5, ge=1, description="Farthest, in source frames, that a frame's neighbours in its clip may lie (smoothness)."
    )
    still_mask_fraction: Probability = Field(
        0.6, description="Part of the patches masked in the warped copy that stands for x' where a clip is a still."
    )
    shuffle_buffer: int = Field(512, ge=1, description="Scenes or clips held for shuffling when shards are streamed.")
    num_workers: int = Field(0, ge=0, description="Loader processes; 0 loads in the training process.")
    prefetch_batches: int = Field(4, ge=1, description="Batches that each loader process keeps ready.")
    cache_limit_mb: int = Field(
        1500, ge=0, description="Data sets no larger than this, decoded, stay in memory; 0 always streams."
    )
    verify_hashes: bool = Field(False, description="Compare each shard with the manifest's sha256 before first use.")
    skip_damaged: bool = Field(
        False, description="Leave damaged or missing shards out, told and counted, where a run would otherwise stop."
    )
    download_folder: Path | None = Field(
        None, description="Where copies of remote shards are kept; None: the user's cache folder."
    )
    download_limit_mb: int = Field(20000, ge=0, description="Copies not used for longest go when all take more.")
