"""The whole model: encoder -> pose head -> uplift -> analytic skeleton image -> image renderer, one forward pass.

    image -> Phi -> skeleton image y -> eta -> joints p -> uplift -> 3D pose, reprojected q
    blend (1 - a) p + a q -> analytic drawing beta -> Psi(beta, partner) -> picture

Psi sees the drawing alone. Everything is in float32 where a coordinate is made, whatever the precision around it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from posecore.skeleton import Skeleton
from trainer.config import ModelConfig
from trainer.models.efficientnet import load_imagenet_weights
from trainer.models.encoder import EfficientNetEncoder, UNetEncoder
from trainer.models.image_renderer import ImageRenderer
from trainer.models.pose_head import Pose2D, PoseHead
from trainer.models.skeleton_image import SkeletonImage
from trainer.models.uplift import Pose3D, Uplift


class PoseOutput(NamedTuple):
    """What the model says of B images, and what it rendered of the first M of them."""

    skeleton_image: torch.Tensor
    """[B, C, s, s] the encoder's, linear, aimed at 2 I - 1."""
    facing_6d: torch.Tensor
    """[B, 6] the root's rotation as the encoder reads it."""
    pose_2d: Pose2D
    pose_3d: Pose3D
    joints: torch.Tensor
    """[B, K, 2] blend of the pose head's joints and the reprojected ones: the model's answer."""
    drawing: torch.Tensor | None = None
    """[M, C, s, s] analytic drawing that was rendered, centred."""
    reconstruction: torch.Tensor | None = None
    """[M, 3, r, r]."""
    drawn_pose_2d: Pose2D | None = None
    """The pose head's reading of `drawings`, if there were any."""


class PoseModel(nn.Module):
    """The networks of the generator side; `build_pose_model` makes one from a configuration."""

    def __init__(
        self,
        encoder: nn.Module,
        pose_head: PoseHead,
        uplift: Uplift,
        draw: SkeletonImage,
        image_renderer: ImageRenderer,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.pose_head = pose_head
        self.uplift = uplift
        self.draw = draw
        self.image_renderer = image_renderer

    def forward(
        self,
        images: torch.Tensor,
        blend: float,
        camera_K: torch.Tensor | None = None,
        partners: torch.Tensor | None = None,
        true_joints: torch.Tensor | None = None,
        image_teaches_pose: bool = True,
        drawings: torch.Tensor | None = None,
        probe: torch.Tensor | None = None,
    ) -> PoseOutput:
        """Estimate poses, and render the first M images again.

        Args:
            images: [B, 3, H, W] RGB in [0, 1].
            blend: 0 draws the pose head's joints, 1 the reprojected ones.
            camera_K: [B, 3, 3] intrinsics in pixels of the crop, NaN where unknown.
            partners: [M, 3, H, W] appearance for the first M images; None renders nothing.
            true_joints: [M, K, 2] joints to draw in place of the estimated ones; rows of NaN keep the estimate.
            image_teaches_pose: whether the picture's gradient reaches the joints.
            drawings: [D, C, s, s] centred skeleton images that the pose head is to read as well.
            probe: zeros [B, C, s, s] added to the encoder's skeleton image, whose gradient tells what each loss wants
                of it (the output's own is no good for that: a distributed wrapper hands out copies).
        """
        seen = self.encoder(images)
        skeleton_image = seen.skeleton_image if probe is None else seen.skeleton_image + probe
        pose_2d = self.pose_head(skeleton_image)
        pose_3d = self.uplift(pose_2d.joints, pose_2d.confidence, seen.facing_6d, camera_K, images.shape[-1])
        joints = torch.lerp(pose_2d.joints, pose_3d.reprojected, blend)
        drawing = reconstruction = None
        if partners is not None:
            shown = joints[: len(partners)]
            if not image_teaches_pose:
                shown = shown.detach()
            if true_joints is not None:
                is_given = true_joints.isfinite().all((1, 2))[:, None, None]
                shown = torch.where(is_given, true_joints, shown)
            drawing = self.draw.centred(shown)
            reconstruction = self.image_renderer(drawing, partners)
        drawn_pose_2d = None if drawings is None else self.pose_head(drawings)
        return PoseOutput(
            skeleton_image, seen.facing_6d, pose_2d, pose_3d, joints, drawing, reconstruction, drawn_pose_2d
        )

    def read_drawings(self, drawings: torch.Tensor) -> Pose2D:
        """The pose head alone, on centred skeleton images [D, C, s, s]."""
        return self.pose_head(drawings)

    def render(self, joints: torch.Tensor | None, partners: torch.Tensor) -> torch.Tensor:
        """The image renderer alone, on given joints [B, K, 2]; None draws nothing, a blank pose. [B, 3, r, r]."""
        size, channels = self.draw.size, self.draw.num_channels
        if joints is None:
            drawing = partners.new_full((len(partners), channels, size, size), -1.0)
        else:
            drawing = self.draw.centred(joints)
        return self.image_renderer(drawing, partners)


def build_pose_model(config: ModelConfig, skeleton: Skeleton, image_size: int, pretrained: bool = True) -> PoseModel:
    """The model that a configuration describes.

    Args:
        image_size: side of the input in pixels.
        pretrained: load ImageNet weights where the encoder has them (not needed when a checkpoint follows).
    """
    drawn = config.skeleton_image
    groups = skeleton.edge_groups(drawn.channels)
    match config.encoder.name:
        case "efficientnet_lite0":
            encoder: nn.Module = EfficientNetEncoder(
                drawn.channels,
                image_size,
                drawn.size,
                config.encoder.widths,
                config.encoder.levels,
                config.encoder.frozen_levels,
            )
            if pretrained:
                load_imagenet_weights(encoder.backbone)
        case "unet":
            encoder = UNetEncoder(
                drawn.channels, image_size, drawn.size, config.encoder.width, config.encoder.stem_stride
            )
    model = PoseModel(
        encoder=encoder,
        pose_head=PoseHead(drawn.channels, skeleton.num_joints, config.pose_head.width),
        uplift=Uplift(
            skeleton,
            width=config.uplift.width,
            num_blocks=config.uplift.blocks,
            dropout=config.uplift.dropout,
            camera=config.uplift.camera,
            fov_deg=config.uplift.fov_deg,
        ),
        draw=SkeletonImage(skeleton.edges, groups, drawn.size, drawn.sharpness),
        image_renderer=ImageRenderer(
            drawn.channels,
            size=config.image_renderer.size,
            width=config.image_renderer.width,
            halvings=config.image_renderer.halvings,
            pooled_appearance=config.image_renderer.pooled_appearance,
        ),
    )
    return model.to(memory_format=torch.channels_last)
