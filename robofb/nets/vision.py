"""A ResNet with group normalisation, and what makes a vector of its maps: networks that see images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robofb.errors import UserError


class BasicBlock(nn.Module):
    """Add two 3 x 3 convolutions to what they were given: relu(x + f(x))."""

    def __init__(self, inputs: int, outputs: int, stride: int, group_size: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = _norm(outputs, group_size)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = _norm(outputs, group_size)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            skip = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(skip, _norm(outputs, group_size))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, H / stride, W / stride) of x (N, inputs, H, W)."""
        hidden = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(hidden)) + self.downsample(x))


class ResNet(nn.Module):
    """Turn RGB images into maps of features (He et al., arXiv 1512.03385), without a classifier.

    The defaults are ResNet-18 with 11,176,512 parameters. Groups are normalised, not batches (Wu and He,
    arXiv 1803.08494): a row does not depend on the others, and there are no running statistics, which go
    badly with averaged weights.

    Args:
        channels: of each stage.
        blocks: of each stage.
        strides: of each stage; the stem before the first divides height and width by 4.
        group_size: channels that are normalised together.

    Attributes:
        num_channels: of the maps.

    Raises:
        UserError: lists of different lengths, or channels that are no multiple of `group_size`.
    """

    def __init__(
        self,
        *,
        channels: Sequence[int] = (64, 128, 256, 512),
        blocks: Sequence[int] = (2, 2, 2, 2),
        strides: Sequence[int] = (1, 2, 2, 2),
        group_size: int = 16,
    ) -> None:
        super().__init__()
        if not channels or not len(channels) == len(blocks) == len(strides):
            raise UserError(
                f"channels={list(channels)}, blocks={list(blocks)}, strides={list(strides)}: "
                "each needs one number for each stage"
            )
        if min(*channels, *blocks, *strides, group_size) < 1:
            raise UserError("channels, blocks, strides and group_size need to be at least 1")
        self.conv1 = nn.Conv2d(3, channels[0], 7, 2, padding=3, bias=False)
        self.norm1 = _norm(channels[0], group_size)
        self.stages = nn.ModuleList()
        above = channels[0]
        for here, count, stride in zip(channels, blocks, strides, strict=True):
            first = BasicBlock(above, here, stride, group_size)
            others = [BasicBlock(here, here, 1, group_size) for _ in range(count - 1)]
            self.stages.append(nn.Sequential(first, *others))
            above = here
        self.num_channels = above
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # twice as fast on a CPU

    def forward(self, images: Tensor) -> Tensor:
        """Return maps (N, num_channels, h, w) of images (N, 3, H, W), of zero mean and unit deviation."""
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(images))), 3, 2, padding=1)
        for stage in self.stages:
            x = stage(x)
        return x


class AveragePool(nn.Module):
    """Return the mean of each map: what is seen, not where.

    Args:
        num_channels: C, of the maps.

    Attributes:
        num_outputs: C.
    """

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.num_outputs = num_channels

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, C) of maps (N, C, h, w)."""
        return maps.mean(dim=(2, 3))


class GridPool(nn.Module):
    """Return a few learnt features at each cell of a grid: what is seen where.

    It learns soonest where things are, for a camera that stands still; a shift of the picture is news to it.

    Args:
        num_channels: C, of the maps.
        features: F, of a cell.
        grid: G, cells along each side; maps of another size are averaged over cells.

    Attributes:
        num_outputs: F G G.
    """

    def __init__(self, num_channels: int, *, features: int = 8, grid: int = 12) -> None:
        super().__init__()
        if features < 1 or grid < 1:
            raise UserError(f"features={features}, grid={grid}: need at least 1")
        self.features = nn.Conv2d(num_channels, features, 1)
        self.grid = grid
        self.num_outputs = features * grid**2

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, F G G) of maps (N, C, h, w)."""
        return F.adaptive_avg_pool2d(self.features(maps), self.grid).flatten(1)


class SpatialSoftmax(nn.Module):
    """Return where each of K learnt features is in the image (Levine et al., arXiv 1504.00702).

    Args:
        num_channels: C, of the maps.
        keypoints: K.

    Attributes:
        num_outputs: 2 K.
    """

    def __init__(self, num_channels: int, *, keypoints: int = 32) -> None:
        super().__init__()
        if keypoints < 1:
            raise UserError(f"keypoints={keypoints}: needs at least 1")
        self.keypoints = nn.Conv2d(num_channels, keypoints, 1)
        self.num_outputs = 2 * keypoints

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, 2 K), x and y of one keypoint after the other, of maps (N, C, h, w)."""
        return expected_positions(self.keypoints(maps)).flatten(1)


def expected_positions(maps: Tensor) -> Tensor:
    """Return the mean position (N, K, 2), x and y, under the softmax over each map (N, K, h, w).

    x goes from -1 at the first column's centre to 1 at the last one's, y from the first row to the last.
    """
    height, width = maps.shape[-2:]
    share = maps.float().flatten(2).softmax(dim=-1).unflatten(2, (height, width))
    x = torch.linspace(-1, 1, width, device=maps.device)
    y = torch.linspace(-1, 1, height, device=maps.device)
    return torch.stack([(share.sum(dim=2) * x).sum(dim=-1), (share.sum(dim=3) * y).sum(dim=-1)], dim=-1)


class VisionEncoder(nn.Module):
    """Turn RGB images into vectors: a network, pooling of its maps, and a linear map.

    Args:
        network: makes maps, such as `ResNet`.
        pooling: builds what pools them from their number of channels.
        num_features: F.
    """

    def __init__(self, network: ResNet, pooling: Callable[[int], Any], num_features: int) -> None:
        super().__init__()
        self.network = network
        self.pooling = pooling(network.num_channels)
        self.project = nn.Linear(self.pooling.num_outputs, num_features)

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, F) of images (N, 3, H, W) of about zero mean and unit deviation."""
        return self.project(self.pooling(self.network(images)))


def _norm(channels: int, group_size: int) -> nn.GroupNorm:
    if channels % group_size:
        raise UserError(f"{channels} channels are no multiple of group_size={group_size}")
    return nn.GroupNorm(channels // group_size, channels)
