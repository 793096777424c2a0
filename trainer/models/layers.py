"""The few layers that several networks share: convolution blocks without batch statistics, and upsampling.

GroupNorm, not batch norm: synthetic and real images share weights but not statistics.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F


def conv_block(channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, GroupNorm, ReLU: [B, channels_in, H, W] -> [B, channels_out, H / stride, W / stride]."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False),
        nn.GroupNorm(math.gcd(8, channels_out), channels_out),
        nn.ReLU(inplace=True),
    )


def resized(x: torch.Tensor, size: int) -> torch.Tensor:
    """[B, C, H, W] -> [B, C, size, size], bilinear; pixel centres keep their place."""
    if x.shape[-1] == size:
        return x
    # In 32 bits: the antialiased filter knows no bfloat16 on a CPU.
    y = F.interpolate(x.float(), size=(size, size), mode="bilinear", align_corners=False, antialias=size < x.shape[-1])
    return y.to(x.dtype)
