"""The analytic skeleton image: joints in, one soft line drawing per channel out, differentiable.

A pixel's value in channel c is exp(-sharpness * sqrt(m + 1e-6)), m the smallest squared distance from the pixel's
centre to an edge of the channel's group (KeypointGAN's released renderer, with the unsquared distance). Coordinates are
normalised: pixel centre i of n lies at (2i + 1) / n - 1, y down. Values lie in [0, 0.975] at sharpness 25; the networks
are fed `centred` ones, 2 I - 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from trainer.models.sides import ViewerSides

DISTANCE_FLOOR = 1e-6
"""Added to squared distances before the root, whose derivative is infinite at 0."""
LENGTH_FLOOR = 1e-6
"""Smallest squared edge length: a shorter edge is drawn as a point."""
CACHED_PIXELS = 1 << 17
"""Pixels of one channel that are worked on at a time: so many fit in a CPU's second-level cache."""


class SkeletonImage(nn.Module):
    """Draws `edges` into the channels that `groups` names. Holds no parameters.

    Args:
        viewer_sides: draw left and right as the viewer sees them; None: as the joints are named.
    """

    def __init__(
        self,
        edges: Sequence[tuple[int, int]],
        groups: Sequence[int],
        size: int,
        sharpness: float,
        viewer_sides: ViewerSides | None = None,
    ) -> None:
        super().__init__()
        if len(edges) != len(groups):
            raise ValueError(f"{len(edges)} edges need as many groups, got {len(groups)}")
        self.edges = tuple((int(start), int(end)) for start, end in edges)
        self.groups = tuple(int(group) for group in groups)
        self.num_channels = max(self.groups) + 1
        self.size = size
        self.sharpness = sharpness
        self.viewer_sides = viewer_sides

    def named(self, joints: torch.Tensor) -> torch.Tensor:
        """Joints [B, K, 2], named anatomically, under the names that the drawing's channels go by."""
        if self.viewer_sides is None:
            return joints
        return self.viewer_sides.exchange(joints, self.viewer_sides.turned(joints))

    def forward(self, joints: torch.Tensor) -> torch.Tensor:
        """Draw joints [B, K, 2] (normalised, named anatomically) as [B, C, size, size] in (0, 1).

        float32, float64 for float64 joints. An edge with a joint that is not finite is left out and passes no
        gradient.
        """
        return self.of_named(self.named(joints))

    def of_named(self, joints: torch.Tensor) -> torch.Tensor:
        """The same of joints under the names that the channels go by."""
        with torch.autocast(joints.device.type, enabled=False):
            return draw_edges(joints, self.edges, self.groups, self.size, self.sharpness)

    def centred(self, joints: torch.Tensor) -> torch.Tensor:
        """The same drawing as the networks see it: 2 I - 1, background -1."""
        return 2.0 * self(joints) - 1.0


def draw_edges(
    joints: torch.Tensor,
    edges: Sequence[tuple[int, int]],
    groups: Sequence[int],
    size: int,
    sharpness: float,
) -> torch.Tensor:
    """Draw the edges between `joints` [B, K, 2] into [B, max(groups) + 1, size, size]; see the module for the formula.

    Half precision is lifted to float32: at 16 bits the drawing is wrong by 3e-2.
    """
    if joints.dtype not in (torch.float32, torch.float64):
        joints = joints.float()
    starts, ends = zip(*edges, strict=True)
    return _DrawEdges.apply(joints[:, list(starts)], joints[:, list(ends)], tuple(groups), size, sharpness)


def pixel_centres(size: int, like: torch.Tensor) -> torch.Tensor:
    """Normalised coordinates [size] of the pixel centres along one axis."""
    return (2.0 * torch.arange(size, device=like.device, dtype=like.dtype) + 1.0) / size - 1.0


class _DrawEdges(torch.autograd.Function):
    """Value and gradient of the drawing in memory O(batch * channels * pixels), whatever the number of edges.

    exp falls with the distance, so the maximum over edges is the exponential of the smallest squared distance: one
    exponential a channel. At the foot of the perpendicular the distance is stationary in the position t along the edge,
    and at an end t is constant, so the gradient needs no derivative of t (envelope theorem): with
    r = u - ((1 - t) a + t b), d m / d a = -2 (1 - t) r and d m / d b = -2 t r, for the nearest edge alone.
    """

    @staticmethod
    def forward(ctx, starts, ends, groups, size, sharpness):
        batch = starts.shape[0]
        num_channels = max(groups) + 1
        centres = pixel_centres(size, starts)
        shape = (batch, num_channels, size, size)
        nearest_d2 = starts.new_full(shape, torch.inf)
        nearest_edge = torch.zeros(shape, dtype=torch.uint8, device=starts.device)
        nearest_t = starts.new_zeros(shape)

        finite = (starts.isfinite() & ends.isfinite()).all(-1)
        starts = torch.where(finite[..., None], starts, 0.0)
        ends = torch.where(finite[..., None], ends, 0.0)
        spans = ends - starts
        spans_per_length2 = spans / spans.square().sum(-1, keepdim=True).clamp(min=LENGTH_FLOOR)
        # Pixels seen from each edge's start, a row and a column of numbers: every plane below is a sum of two of these.
        from_start_x = centres - starts[..., 0:1]
        from_start_y = centres - starts[..., 1:2]
        along_x = from_start_x * spans_per_length2[..., 0:1]
        along_y = from_start_y * spans_per_length2[..., 1:2]
        too_far = torch.where(finite, 0.0, torch.inf).to(starts.dtype)

        def squared_distance(part: slice, edge: int) -> tuple[torch.Tensor, torch.Tensor]:
            t = (along_x[part, edge, None, :] + along_y[part, edge, :, None]).clamp_(0.0, 1.0)
            span = spans[part, edge, :, None, None]
            d2 = torch.addcmul(from_start_x[part, edge, None, :], t, span[:, 0], value=-1.0).square_()
            off_y = torch.addcmul(from_start_y[part, edge, :, None], t, span[:, 1], value=-1.0)
            return d2.addcmul_(off_y, off_y).add_(too_far[part, edge, None, None]), t

        step = max(1, CACHED_PIXELS // (size * size))
        for low in range(0, batch, step):
            part = slice(low, min(low + step, batch))
            for channel in range(num_channels):
                members = [edge for edge, group in enumerate(groups) if group == channel]
                if not members:
                    continue
                best_d2, best_t = squared_distance(part, members[0])
                best_edge = torch.full_like(best_d2, members[0], dtype=torch.uint8)
                for edge in members[1:]:
                    d2, t = squared_distance(part, edge)
                    closer = d2 < best_d2
                    best_d2 = torch.minimum(d2, best_d2)
                    best_t = torch.where(closer, t, best_t)
                    best_edge.masked_fill_(closer, edge)
                nearest_d2[part, channel], nearest_t[part, channel] = best_d2, best_t
                nearest_edge[part, channel] = best_edge

        distance = nearest_d2.add_(DISTANCE_FLOOR).sqrt_()
        image = (distance * -sharpness).exp_()
        ctx.save_for_backward(starts, spans, image, distance, nearest_edge, nearest_t)
        ctx.groups, ctx.size, ctx.sharpness = groups, size, sharpness
        return image

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_image):
        starts, spans, image, distance, nearest_edge, nearest_t = ctx.saved_tensors
        size, groups = ctx.size, ctx.groups
        batch, num_channels = image.shape[:2]
        centres = pixel_centres(size, starts)
        column_x = centres.expand(size, size).reshape(-1)
        row_y = centres[:, None].expand(size, size).reshape(-1)
        grad_starts = torch.zeros_like(starts)
        grad_ends = torch.zeros_like(starts)

        step = max(1, CACHED_PIXELS // (size * size))
        for low in range(0, batch, step):
            part = slice(low, min(low + step, batch))
            for channel in range(num_channels):
                members = [index for index, group in enumerate(groups) if group == channel]
                if not members:
                    continue
                # d I / d m = -sharpness I / (2 sqrt(m)); an empty drawing has I = 0 at an infinite distance, hence 0.
                grad_d2 = grad_image[part, channel] * image[part, channel] / distance[part, channel]
                grad_d2 = grad_d2.mul_(-0.5 * ctx.sharpness).flatten(1)
                t = nearest_t[part, channel].flatten(1)
                winner = nearest_edge[part, channel].flatten(1)
                wins = torch.stack([winner == edge for edge in members], dim=1).to(grad_d2.dtype)
                # A one-hot product gathers each pixel's own edge. Sums of moments of the pixels would do with one
                # product, but cancel badly in float32.
                own = torch.bmm(torch.cat([starts[part][:, members], spans[part][:, members]], -1).mT, wins)
                off_x = grad_d2 * (column_x - own[:, 0]).addcmul_(t, own[:, 2], value=-1.0)
                off_y = grad_d2 * (row_y - own[:, 1]).addcmul_(t, own[:, 3], value=-1.0)
                sums = torch.bmm(wins, torch.stack([off_x, off_y, off_x * t, off_y * t], dim=1).mT)
                grad_starts[part, members] = -2.0 * (sums[..., :2] - sums[..., 2:])
                grad_ends[part, members] = -2.0 * sums[..., 2:]
        return grad_starts, grad_ends, None, None, None
