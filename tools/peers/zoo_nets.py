"""Networks of the zoo that no package ships in a small size: U-Net, YOLO."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

__all__ = ["UNet", "Yolo"]


def _double(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),
        nn.Conv2d(after, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),
    )


class UNet(nn.Module):
    """Encoder, decoder and skips; upsampling by a transposed convolution or by interpolation."""

    def __init__(self, *, learned: bool, classes: int = 4) -> None:
        super().__init__()
        self.one, self.two, self.three = _double(3, 8), _double(8, 16), _double(16, 32)
        self.up = (
            nn.ConvTranspose2d(32, 16, 2, stride=2)
            if learned
            else nn.Sequential(
                nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
                nn.Conv2d(32, 16, 1),
            )
        )
        self.top = (
            nn.ConvTranspose2d(16, 8, 2, stride=2)
            if learned
            else nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(16, 8, 1))
        )
        self.right, self.last = _double(32, 16), _double(16, 8)
        self.head = nn.Conv2d(8, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores per pixel."""
        one = self.one(x)
        two = self.two(F.max_pool2d(one, 2))
        three = self.three(F.max_pool2d(two, 2))
        x = self.right(torch.cat([self.up(three), two], 1))
        return self.head(self.last(torch.cat([self.top(x), one], 1)))


class _Conv(nn.Module):
    def __init__(self, before: int, after: int, side: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, side, stride, (side - 1) // 2, bias=False)
        self.norm = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.norm(self.conv(x)))


class _Csp(nn.Module):
    """A split, a residual bottleneck on one half, a concatenation of all parts."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.enter, self.leave = _Conv(width, width), _Conv(3 * half, width)
        self.one, self.two = _Conv(half, half, 3), _Conv(half, half, 3)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.enter(x).chunk(2, 1)
        return self.leave(torch.cat([left, right, right + self.two(self.one(right))], 1))


class _Pyramid(nn.Module):
    """Pooling at growing windows, all concatenated (SPPF)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter, self.leave = _Conv(width, width // 2), _Conv(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        found = [self.enter(x)]
        for _ in range(3):
            found.append(F.max_pool2d(found[-1], 5, 1, 2))
        return self.leave(torch.cat(found, 1))


class Yolo(nn.Module):
    """Backbone, upward path and decoding heads at two scales.

    With anchors the decoding is that of versions 3 to 5 (sigmoid, grid, anchor sizes); without,
    that of version 8 (a distribution over distances per side, class scores beside it).
    """

    def __init__(self, *, anchors: int, classes: int = 4) -> None:
        super().__init__()
        self.anchors, self.classes, self.bins = anchors, classes, 4
        self.stem = nn.Sequential(_Conv(3, 8, 6, 2), _Conv(8, 16, 3, 2), _Csp(16))
        self.deep = nn.Sequential(_Conv(16, 32, 3, 2), _Csp(32), _Pyramid(32))
        self.side, self.join = _Conv(32, 16), nn.Sequential(_Conv(32, 16), _Csp(16))
        per_cell = anchors * (5 + classes) if anchors else 4 * self.bins + classes
        self.heads = nn.ModuleList([nn.Conv2d(16, per_cell, 1), nn.Conv2d(32, per_cell, 1)])

    def forward(self, x: Tensor) -> Tensor:
        """Boxes and scores of every cell of both scales, `[N, cells, 4 + scores]`."""
        shallow = self.stem(x)
        deep = self.deep(shallow)
        up = F.interpolate(self.side(deep), scale_factor=2.0, mode="nearest")
        maps = [self.join(torch.cat([up, shallow], 1)), deep]
        decode = self._anchored if self.anchors else self._distances
        found = [decode(head(m)) for head, m in zip(self.heads, maps, strict=True)]
        return torch.cat(found, 1)

    def _grid(self, x: Tensor) -> Tensor:
        rows, columns = torch.arange(x.shape[-2]), torch.arange(x.shape[-1])
        down, across = torch.meshgrid(rows, columns, indexing="ij")
        return torch.stack([across, down], -1).to(x.dtype)

    def _anchored(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        cells = x.view(n, self.anchors, 5 + self.classes, h, w).permute(0, 1, 3, 4, 2).sigmoid()
        sizes = torch.tensor([8.0, 16.0, 32.0]).view(1, 3, 1, 1, 1)
        middle = (cells[..., :2] * 2 - 0.5 + self._grid(x)) * 8
        extent = (cells[..., 2:4] * 2) ** 2 * sizes
        return torch.cat([middle, extent, cells[..., 4:]], -1).view(n, -1, 5 + self.classes)

    def _distances(self, x: Tensor) -> Tensor:
        n = x.shape[0]
        flat = x.flatten(2)
        spread, scores = flat.split([4 * self.bins, self.classes], 1)
        weights = spread.view(n, 4, self.bins, -1).softmax(2)
        distance = (weights * torch.arange(self.bins).view(1, 1, -1, 1)).sum(2)
        middle = self._grid(x).view(-1, 2).t().unsqueeze(0) + 0.5
        near, far = distance.chunk(2, 1)
        boxes = torch.cat([(2 * middle - near + far) / 2, near + far], 1)
        return torch.cat([boxes * 8, scores.sigmoid()], 1).transpose(1, 2)
