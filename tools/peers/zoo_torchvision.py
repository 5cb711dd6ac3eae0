"""Loads torchvision where its compiled operators do not load, and builds an SSD from its parts.

A torchvision wheel that was built for another PyTorch lacks `torchvision::nms`; the models need
only that the operators exist, so they are declared here with an implementation in Python.
"""

import importlib.util

import torch
from torch import Tensor, nn

__all__ = ["detection", "timm", "torchvision"]


def _nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Greedy suppression: keep the likeliest box, drop what overlaps it, go on."""
    waiting = scores.argsort(descending=True)
    kept: list[Tensor] = []
    while waiting.numel():
        best, waiting = waiting[0], waiting[1:]
        kept.append(best)
        low = torch.maximum(boxes[best, :2], boxes[waiting, :2])
        high = torch.minimum(boxes[best, 2:], boxes[waiting, 2:])
        both = (high - low).clamp(min=0).prod(1)
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        waiting = waiting[both <= iou_threshold * (area[best] + area[waiting] - both)]
    return torch.stack(kept) if kept else waiting


def _declare() -> list[torch.library.Library]:
    """Declare the operators; the libraries must live as long as the models."""
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", _nms, "CPU")
    return [library]


def _compiled() -> bool:
    """Whether torchvision's own operators load."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    try:
        torch.ops.load_library(spec.origin.replace("__init__.py", "_C.so"))
    except OSError:
        return False
    return True


LIBRARIES = [] if _compiled() else _declare()

import timm  # noqa: E402 - it imports torchvision, whose operators must exist first
import torchvision  # noqa: E402
from torchvision.models.detection.ssd import SSDHead  # noqa: E402

CLASSES = 5


class Ssd(nn.Module):
    """Feature maps at three scales, SSD heads, class scores per anchor; optionally suppression."""

    def __init__(self, *, boxes: bool) -> None:
        super().__init__()
        widths = (16, 24, 32)
        stages = zip((3, *widths[:-1]), widths, strict=True)
        self.stages = nn.ModuleList(_stage(*pair) for pair in stages)
        self.head = SSDHead(list(widths), [4, 6, 4], CLASSES)
        self.boxes = boxes

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Class scores `[N, A, K]` and offsets `[N, A, 4]`, or the kept boxes of one picture."""
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        found = self.head(maps)
        scores, offsets = found["cls_logits"].softmax(-1), found["bbox_regression"]
        if not self.boxes:
            return found["cls_logits"], offsets
        likely = scores[0, :, 1:].max(-1).values
        corners = torch.cat([offsets[0, :, :2], offsets[0, :, :2] + offsets[0, :, 2:].exp()], -1)
        kept = torch.ops.torchvision.nms(corners, likely, 0.5)[:8]
        return scores[0, kept], corners[kept]


def _stage(before: int, after: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU6(),
        nn.Conv2d(after, after, 3, stride=2, padding=1, groups=after // 8),
        nn.Hardswish(),
    )


def detection(*, boxes: bool) -> nn.Module:
    """An SSD; `boxes`: with decoded boxes and non-maximum suppression."""
    return Ssd(boxes=boxes)
