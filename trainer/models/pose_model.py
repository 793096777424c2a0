"""The whole model: encoder -> pose head -> uplift -> analytic skeleton image -> image renderer, one forward pass.

    image -> Phi -> skeleton image y -> eta -> joints p -> uplift -> 3D pose, reprojected q
    blend (1 - a) p + a q -> analytic drawing beta -> Psi(beta, partner) -> picture

Psi sees the drawing alone. Skeleton images may show the viewer's left and right (`skeleton_image.sides`); joints that
leave the model are always named anatomically. Everything is in float32 where a coordinate is made, whatever the
precision around it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from posecore.skeleton import Skeleton
from trainer.config import ModelConfig
from trainer.models.backbones import LibraryBackbone
from trainer.models.channels import channel_of_edges
from trainer.models.efficientnet import EfficientNetLite0, load_imagenet_weights
from trainer.models.encoder import PyramidEncoder, UNetEncoder
from trainer.models.image_renderer import ImageRenderer
from trainer.models.pose_head import Pose2D, PoseHead
from trainer.models.sides import ViewerSides
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
    """The pose head's reading of `drawings`, if there were any, under the names of the drawing's channels."""
    turned_logit: torch.Tensor | None = None
    """[B] that the back is seen; None where skeleton images show anatomical sides."""

    def estimates(self, rows: slice) -> PoseOutput:
        """What is said of some of the images, without what was rendered."""
        return PoseOutput(
            self.skeleton_image[rows],
            self.facing_6d[rows],
            Pose2D(*(value[rows] for value in self.pose_2d)),
            Pose3D(*(value[rows] for value in self.pose_3d)),
            self.joints[rows],
            turned_logit=None if self.turned_logit is None else self.turned_logit[rows],
        )


class PoseModel(nn.Module):
    """The networks of the generator side; `build_pose_model` makes one from a configuration.

    Args:
        uplift_teaches: whether gradients pass through the uplift to what it reads; it learns by itself either way.
    """

    def __init__(
        self,
        encoder: nn.Module,
        pose_head: PoseHead,
        uplift: Uplift,
        draw: SkeletonImage,
        image_renderer: ImageRenderer,
        uplift_teaches: bool = True,
    ) -> None:
        super().__init__()
        self.uplift_teaches = uplift_teaches
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
        known_joints: torch.Tensor | None = None,
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
            known_joints: [B, K, 2] true joints, rows of NaN where unknown. They only say whose back is seen, where
                skeleton images show the viewer's sides; elsewhere the encoder's own guess decides.
        """
        seen = self.encoder(images)
        skeleton_image = seen.skeleton_image if probe is None else seen.skeleton_image + probe
        pose_2d = self.pose_head(skeleton_image)
        turned_logit = None
        if self.draw.viewer_sides is not None:
            turned_logit = self.encoder.turned(seen.maps, pose_2d.joints)
            pose_2d = self._anatomical(pose_2d, turned_logit, known_joints)
        read = pose_2d.joints, pose_2d.confidence, seen.facing_6d
        if not self.uplift_teaches:
            read = tuple(value.detach() for value in read)
        pose_3d = self.uplift(*read, camera_K, images.shape[-1])
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
            skeleton_image,
            seen.facing_6d,
            pose_2d,
            pose_3d,
            joints,
            drawing,
            reconstruction,
            drawn_pose_2d,
            turned_logit,
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

    def _anatomical(self, pose: Pose2D, turned_logit: torch.Tensor, known_joints: torch.Tensor | None) -> Pose2D:
        """The pose head's reading, named as the viewer sees it, under anatomical names."""
        sides, turned = self.draw.viewer_sides, turned_logit > 0
        if known_joints is not None:
            is_known = known_joints.isfinite().all((1, 2))
            turned = torch.where(is_known, sides.turned(known_joints), turned)
        return Pose2D(*(sides.exchange(values, turned) for values in pose))


def build_pose_model(config: ModelConfig, skeleton: Skeleton, image_size: int, pretrained: bool = True) -> PoseModel:
    """The model that a configuration describes.

    Args:
        image_size: side of the input in pixels.
        pretrained: load ImageNet weights where the encoder has them (not needed when a checkpoint follows).
    """
    drawn = config.skeleton_image
    groups = channel_of_edges(drawn, skeleton)
    num_channels = max(groups) + 1
    sides = ViewerSides(skeleton) if drawn.sides == "viewer" else None
    turned_joints = 0 if sides is None else skeleton.num_joints
    chosen = config.encoder
    match chosen.name:
        case "unet":
            encoder: nn.Module = UNetEncoder(
                num_channels,
                image_size,
                drawn.size,
                chosen.width,
                chosen.stem_stride,
                chosen.tell_facing,
                turned_joints,
            )
        case "efficientnet_lite0":
            backbone: nn.Module = EfficientNetLite0(chosen.levels, chosen.frozen_levels)
            if pretrained:
                load_imagenet_weights(backbone)
        case "timm" | "torchvision":
            backbone = LibraryBackbone(chosen.name, chosen.model, chosen.weights if pretrained else None, image_size)
    if chosen.name != "unet":
        encoder = PyramidEncoder(
            backbone, num_channels, image_size, drawn.size, chosen.widths, chosen.tell_facing, turned_joints
        )
    model = PoseModel(
        encoder=encoder,
        pose_head=PoseHead(num_channels, skeleton.num_joints, config.pose_head.width),
        uplift=Uplift(
            skeleton,
            width=config.uplift.width,
            num_blocks=config.uplift.blocks,
            dropout=config.uplift.dropout,
            camera=config.uplift.camera,
            fov_deg=config.uplift.fov_deg,
        ),
        draw=SkeletonImage(skeleton.edges, groups, drawn.size, drawn.sharpness, sides),
        image_renderer=ImageRenderer(
            num_channels,
            size=config.image_renderer.size,
            width=config.image_renderer.width,
            halvings=config.image_renderer.halvings,
            pooled_appearance=config.image_renderer.pooled_appearance,
        ),
        uplift_teaches=config.uplift.in_loop == "end_to_end",
    )
    return model.to(memory_format=torch.channels_last)
