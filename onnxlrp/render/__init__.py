"""Relevance arrays to images: heatmaps over pictures, coloured curves and bars."""

from onnxlrp.render.colors import COLORS, colorize
from onnxlrp.render.heat import heatmap, limit
from onnxlrp.render.page import Caption, stack
from onnxlrp.render.render import render
from onnxlrp.render.save import save
from onnxlrp.render.style import Style

__all__ = ["COLORS", "Caption", "Style", "colorize", "heatmap", "limit", "render", "save", "stack"]
