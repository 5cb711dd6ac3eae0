"""Pictures into and out of an explanation graph: uint8 in, the heat over the picture out."""

from onnxlrp.pictures.wrap import Steps, with_pictures

__all__ = ["Steps", "with_pictures"]
