"""What a training run is: strict, frozen, versioned settings, read from YAML by name or path.

Names are looked up in recipes/train/. The machine (device, paths, threads) is said on the command line, not here.
Loss weights and schedule follow the project's specification of the method where nothing else is said.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from posecore.resources import resource_dir
from posecore.settings import apply_override, load_settings, parse_settings
from trainer.data.config import DataConfig, PositiveRange

CONFIG_VERSION = 1

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Weight = Annotated[float, Field(ge=0.0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SkeletonImageConfig(_Section):
    channels: Annotated[int, Field(ge=1)] | Literal["edges"] = Field(
        5, description="C: 1, 3, 5, 7 or 9, as the skeleton groups its edges; `edges` gives each a channel of its own."
    )
    sides: Literal["anatomical", "viewer"] = Field(
        "anatomical",
        description="Whose left and right the channels show. `viewer`: of a body seen from behind the left limbs are "
        "drawn as right ones, so the encoder needs not know which way it faces; a head of its own tells that.",
    )
    grouping: Literal["semantic", "random"] = Field(
        "semantic", description="`random` is a control: the same sizes of channels, but edges are dealt to them by lot."
    )
    grouping_seed: int = Field(0, ge=0, description="Of the random deal.")
    size: int = Field(64, ge=8, description="Side of the skeleton image in pixels.")
    sharpness: float = Field(15.0, gt=0, description="exp(-sharpness * distance); 25 is the method's at 128 px.")

    @model_validator(mode="after")
    def _deal_changes_something(self) -> SkeletonImageConfig:
        if self.grouping == "random" and self.channels in (1, "edges"):
            raise ValueError(f"grouping: random deals nothing out where channels is {self.channels}; choose 3, 5 ...")
        return self


class _EncoderConfig(_Section):
    tell_facing: Literal["nowhere", "deepest", "everywhere"] = Field(
        "deepest", description="Levels of the decoder that are told which way the body faces, as the encoder reads it."
    )


class _PyramidEncoderConfig(_EncoderConfig):
    widths: tuple[int, int, int, int] = Field(
        (96, 64, 48, 32), description="Decoder channels at 1/16, 1/8, 1/4 and 1/2 of the input's side."
    )


class EfficientNetEncoderConfig(_PyramidEncoderConfig):
    """ImageNet backbone with frozen batch-norm statistics and a thin decoder."""

    name: Literal["efficientnet_lite0"] = "efficientnet_lite0"
    levels: Literal[4, 5] = Field(5, description="Deepest map at 1/16 or 1/32 of the input's side.")
    frozen_levels: int = Field(0, ge=0, le=3, description="Finest maps whose blocks stay as ImageNet left them.")


class LibraryEncoderConfig(_PyramidEncoderConfig):
    """A backbone of timm or torchvision under the same decoder; pip install 'posesynth[backbones]'."""

    name: Literal["timm", "torchvision"]
    model: str = Field(..., description="As the library names it: resnet18, convnext_tiny, mobilenetv3_large_100 ...")
    weights: Path | None = Field(
        None,
        description="The library's weights in a local file (.pth, .safetensors); nothing is downloaded. None: random.",
    )


class UNetEncoderConfig(_EncoderConfig):
    """The method's own U-Net, from scratch."""

    name: Literal["unet"]
    width: int = Field(32, ge=8, multiple_of=8)
    stem_stride: Literal[1, 2] = 1


class PoseHeadConfig(_Section):
    width: int = Field(48, ge=8, multiple_of=8)


class UpliftConfig(_Section):
    width: int = Field(512, ge=16)
    blocks: int = Field(3, ge=1)
    dropout: Fraction = 0.0
    camera: Literal["weak_perspective", "perspective"] = "weak_perspective"
    fov_deg: float = Field(50.0, gt=1, lt=170, description="Field of view of crops whose camera is unknown.")
    in_loop: Literal["end_to_end", "separate", "none"] = Field(
        "end_to_end",
        description="Whether pictures teach through the reprojected 3D pose. `separate`: the uplift learns from labels "
        "and detached 2D joints, pictures see the pose head's. `none`: it does not learn, pictures as before.",
    )


class ImageRendererConfig(_Section):
    size: int = Field(64, ge=16, description="Side of the reconstruction in pixels.")
    width: int = Field(24, ge=8, multiple_of=8)
    halvings: int = Field(2, ge=1, le=4, description="The codes' side is size / 2**halvings.")
    pooled_appearance: bool = False


class DiscriminatorConfig(_Section):
    width: int = Field(32, ge=8, multiple_of=8)
    scales: int = Field(3, ge=1, le=4)
    instance_noise: Weight = Field(0.05, description="Gaussian noise on real and fake drawings, drawing in [-1, 1].")
    r1_gamma: Weight = Field(1.0, description="Weight of the R1 gradient penalty.")
    r1_every: int = Field(16, ge=1, description="Steps between penalties.")
    replay: int = Field(50, ge=0, description="Past fakes that are kept.")
    pose_width: int = Field(256, ge=8, description="Of the discriminator of bare poses (losses.pose_prior).")


class ModelConfig(_Section):
    skeleton_image: SkeletonImageConfig = SkeletonImageConfig()
    encoder: Annotated[
        EfficientNetEncoderConfig | LibraryEncoderConfig | UNetEncoderConfig, Field(discriminator="name")
    ] = EfficientNetEncoderConfig()
    pose_head: PoseHeadConfig = PoseHeadConfig()
    uplift: UpliftConfig = UpliftConfig()
    image_renderer: ImageRendererConfig = ImageRendererConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    answer_blend: Fraction = Field(
        0.5, description="Of the joints that are given out: 0 is the pose head's, 1 the reprojected ones."
    )

    @model_validator(mode="after")
    def _sizes_fit(self) -> ModelConfig:
        renderer = self.image_renderer
        if renderer.size % 2**renderer.halvings:
            raise ValueError(f"image_renderer.size {renderer.size} cannot be halved {renderer.halvings} times")
        return self

    @model_validator(mode="after")
    def _answer_is_learned(self) -> ModelConfig:
        if self.uplift.in_loop == "none" and self.answer_blend > 0:
            raise ValueError("uplift.in_loop none leaves the reprojected joints unlearned: set model.answer_blend=0")
        return self


class FeaturesConfig(_Section):
    name: Literal["efficientnet_lite0", "vgg16", "vgg19"] = "efficientnet_lite0"
    levels: int = Field(3, ge=1, le=5, description="Feature maps besides the pixels, finest first.")
    weights: Path | None = Field(None, description="A torchvision VGG .pth file; not needed for efficientnet_lite0.")


class LossConfig(_Section):
    """Weights. The synthetic ones are multiplied by `synthetic`, which goes from its first to its second value."""

    synthetic: tuple[Weight, Weight] = Field((1.0, 0.5), description="First to last step of finetuning; never 0.")
    skeleton_image: Weight = 10.0
    foreground: Weight = Field(4.0, description="How much more a pixel on the drawing counts than the background.")
    joints_2d: Weight = 10.0
    joints_3d: Weight = 5.0
    rotations: Weight = 1.0
    facing: Weight = 1.0
    turned: Weight = Field(1.0, description="Whether the back is seen; with skeleton_image.sides=viewer only.")
    reprojection: Weight = 5.0
    bones: Weight = 0.05
    pose_head: Weight = Field(5.0, description="The pose head on drawings of the prior, throughout.")
    perceptual: Weight = 10.0
    subject_weight: Weight = Field(3.0, description="How much more the picture counts on and near the subject.")
    consistency: Weight = 1.0
    pose_prior: Weight = Field(
        0.1, description="Real poses, seen from anywhere, against a discriminator of synthetic ones."
    )
    joint_limits: Weight = Field(0.01, description="Real poses: rotations beyond those of synthetic bodies.")
    smoothness: Weight = Field(
        0.0, description="Joints of real frames against their neighbours' in the clip; costs two more pictures each."
    )
    views: Weight = Field(
        0.0, description="3D poses of real frames against another calibrated view of the moment; one more picture each."
    )
    teacher: Weight = Field(10.0, description="Mean teacher: joints that the teacher is confident of.")
    anchor: Weight = Field(0.1, description="Refinement: hold on the pose of the run that it starts from.")
    adversarial_ratio: Weight = Field(
        0.5, description="Norm of the adversarial gradient on the skeleton image over the perceptual one's; 0: none."
    )
    features: FeaturesConfig = FeaturesConfig()

    @model_validator(mode="after")
    def _supervision_stays(self) -> LossConfig:
        if min(self.synthetic) <= 0:
            raise ValueError(f"synthetic: must stay above 0, or left and right drift apart; got {list(self.synthetic)}")
        return self


class TeacherConfig(_Section):
    """The mean teacher: what its student sees, and which of its answers count."""

    trusted: float = Field(
        0.5, gt=0, le=1, description="Share of a batch's joints that teach: those the teacher is most confident of."
    )
    turn_deg: float = Field(30.0, ge=0, le=180, description="The student's view is turned by up to this, either way.")
    scale: PositiveRange = Field((0.7, 1.3), description="Factor on what the student sees, log-uniform.")
    shift: Weight = Field(0.1, le=1, description="Shift of the student's view, at most this fraction of its side.")
    colour: float = Field(0.4, ge=0, lt=1, description="Gain, contrast and each channel drawn from 1 +- this.")
    noise: Weight = Field(0.05, description="Largest sigma of the noise on the student's view, of the range 0..1.")
    cutouts: int = Field(2, ge=0, description="Rectangles that are hidden from the student.")
    cutout_size: Fraction = Field(0.3, description="Longest side of such a rectangle, as a fraction of the view's.")


class OptimiserConfig(_Section):
    learning_rate: float = Field(5e-4, gt=0)
    backbone_factor: float = Field(0.5, gt=0, description="Learning rate of ImageNet layers over the others'.")
    renderer_factor: float = Field(1.0, gt=0, description="Learning rate of the image renderer over the others'.")
    discriminator_factor: float = Field(0.25, gt=0, description="Slows the discriminator, which else wins early.")
    bone_factor: float = Field(
        100.0, gt=0, description="Refinement: learning rate of the subject's bone lengths over the networks'."
    )
    betas: tuple[Fraction, Fraction] = (0.9, 0.99)
    weight_decay: Weight = 1e-4
    clip_norm: float = Field(1.0, gt=0, description="Gradient norm of each network.")
    warmup_steps: int = Field(100, ge=0)
    final_factor: Fraction = Field(0.05, description="Learning rate at the end over its peak (cosine between).")
    accumulate: int = Field(1, ge=1, description="Batches that make one step.")
    ema_decay: Fraction = 0.998
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"


class ScheduleConfig(_Section):
    steps: int = Field(..., ge=1, description="Optimiser steps of the joint phase.")
    max_minutes: float | None = Field(
        None, gt=0, description="Stops earlier when this time has passed; schedules then follow the clock."
    )
    pose_head_steps: int = Field(0, ge=0, description="Steps of the pose head alone on drawings, before all else.")
    blend_from: Fraction = Field(0.3, description="Part of the run at which reprojected joints begin to be drawn.")
    blend_until: Fraction = Field(0.8, description="Part of the run from which only reprojected joints are drawn.")
    render_every: int = Field(1, ge=1, description="Steps between reconstructions of synthetic pairs.")
    true_drawing: Fraction = Field(
        0.5, description="Part of the synthetic pairs that are rendered from the true pose, not the estimated one."
    )
    leakage_margin: Weight | None = Field(
        0.15,
        description="Pictures teach the pose once a shuffled pose reconstructs worse by this fraction; None: at once.",
    )
    gauge_every: int = Field(500, ge=1, description="Steps between gauges on held-out data.")
    gauge_samples: int = Field(256, ge=1)
    checkpoint_every: int = Field(1000, ge=1)
    keep_checkpoints: int = Field(2, ge=1)
    log_every: int = Field(20, ge=1)
    log_samples: bool = Field(False, description="Write the keys of each step's samples to samples.jsonl.")
    gradient_norms_every: int = Field(
        0, ge=0, description="Steps between records of every loss's gradient norm on every network; 0: never. Such a "
        "step takes one more backward pass for each loss.",
    )  # fmt: skip
    on_nan: Literal["stop", "rollback"] = Field(
        "stop", description="A loss or gradient that is not finite ends the run, or sends it back to its last "
        "checkpoint, to go on with other random draws and past the samples that led there.",
    )  # fmt: skip
    max_rollbacks: int = Field(5, ge=1, description="After so many of them in one run, the next one ends it.")
    on_collapse: Literal["stop", "rollback"] = Field(
        "stop", description="Poses that hardly differ any more, or constant or vanished skeleton images, end the run, "
        "or send it back to its best checkpoint, to go on with other random draws and past the samples that led there.",
    )  # fmt: skip
    collapse_below: Fraction = Field(
        0.2, description="Collapsed is what fell below this fraction of the synthetic data's spread, or of its own at "
        "the first gauge if that is less; 0: never.",
    )  # fmt: skip
    patience_gauges: int | None = Field(
        None, ge=1, description="Ends the run after so many gauges in a row without a better best one; None: never."
    )
    picture_every: int = Field(500, ge=1)

    @model_validator(mode="after")
    def _blend_rises(self) -> ScheduleConfig:
        if self.blend_from > self.blend_until:
            raise ValueError(f"blend_from must not be above blend_until, got {self.blend_from} and {self.blend_until}")
        return self


class TrainConfig(_Section):
    """A whole run. `stage`: pretrain on synthetic data, finetune with real data mixed in, or refine on one clip.

    A mean teacher is another way of finetuning: the baseline to beat.
    """

    version: Literal[1] = CONFIG_VERSION
    stage: Literal["pretrain", "finetune", "mean_teacher", "refine"]
    skeleton: str = "h36m17"
    seed: int = Field(0, ge=0)
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    losses: LossConfig = LossConfig()
    teacher: TeacherConfig = TeacherConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    schedule: ScheduleConfig

    @property
    def images_per_step(self) -> int:
        """Of the joint phase, in one process."""
        real, synthetic = self.data.real_batch_size, self.data.synthetic_batch_size
        mixed = real + synthetic
        images = {"pretrain": synthetic, "finetune": mixed, "mean_teacher": mixed, "refine": real}[self.stage]
        return images * self.optimiser.accumulate

    @property
    def command(self) -> str:
        """The one of `trainer run` that runs this stage."""
        return "finetune" if self.stage == "mean_teacher" else self.stage

    @model_validator(mode="after")
    def _uplift_is_there_to_refine(self) -> TrainConfig:
        if self.stage == "refine" and self.model.uplift.in_loop != "end_to_end":
            raise ValueError("model.uplift.in_loop: refinement learns bone lengths through the pictures: end_to_end")
        return self

    @model_validator(mode="after")
    def _views_are_held_together_where_poses_are(self) -> TrainConfig:
        if self.losses.views > 0 and self.stage in ("mean_teacher", "refine"):
            raise ValueError(
                f"losses.views: stage {self.stage} does not compare views, only finetune does; set it to 0"
            )
        if self.losses.views > 0 and self.stage == "finetune" and self.model.uplift.in_loop != "end_to_end":
            raise ValueError("losses.views: compares 3D poses of real pictures, which only in_loop end_to_end teaches")
        return self


def load_config(name_or_path: str, overrides: tuple[str, ...] = ()) -> TrainConfig:
    """A configuration by name (recipes/train/) or path; what it `extends` is filled in, then "a.b=value" overrides.

    Raises:
        UserError: not found, or refused; one line for each problem.
    """
    folder = resource_dir("recipes") / "train"
    return load_settings(TrainConfig, name_or_path, folder, "training configuration", overrides)


def dump_config(config: TrainConfig) -> str:
    """YAML that `load_config` reads back to the same configuration."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def with_networks_of(config: TrainConfig, trained: TrainConfig) -> TrainConfig:
    """`config` with the networks and skeleton of a run that it starts from: its weights fit no others.

    The discriminator, which starts anew, the share of the reprojected joints in the answer and the uplift's place in
    the loop stay `config`'s own. A pretraining keeps its own sizes of pictures as well: it may go on from a smaller
    task. Later stages keep the run's.
    """
    own: dict[str, object] = {
        "discriminator": config.model.discriminator,
        "answer_blend": config.model.answer_blend,
        "uplift": trained.model.uplift.model_copy(update={"in_loop": config.model.uplift.in_loop}),
    }
    data = config.data
    if config.stage == "pretrain":
        drawn, rendered = config.model.skeleton_image, config.model.image_renderer
        sizes = {"size": drawn.size, "sharpness": drawn.sharpness}
        own["skeleton_image"] = trained.model.skeleton_image.model_copy(update=sizes)
        own["image_renderer"] = trained.model.image_renderer.model_copy(update={"size": rendered.size})
    else:
        data = data.model_copy(update={"input_size_px": trained.data.input_size_px})
    model = trained.model.model_copy(update=own)
    return config.model_copy(update={"skeleton": trained.skeleton, "model": model, "data": data})


def override_config(config: TrainConfig, overrides: tuple[str, ...]) -> TrainConfig:
    """The same configuration with "a.b=value" overrides.

    Raises:
        UserError: an override is refused.
    """
    content = config.model_dump(mode="json")
    for override in overrides:
        apply_override(content, override)
    return parse_settings(TrainConfig, content, "--set")
