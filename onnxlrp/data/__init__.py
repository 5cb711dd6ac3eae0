"""Files to arrays: pictures, preprocessing, labels, tables and numpy files."""

from onnxlrp.data.labels import load_labels
from onnxlrp.data.pictures import load_picture
from onnxlrp.data.preprocess import Preprocessing
from onnxlrp.data.samples import Sample, expand, load_sample

__all__ = ["Preprocessing", "Sample", "expand", "load_labels", "load_picture", "load_sample"]
