"""Holds an ONNX model as a graph, edits it, turns it back into a checked model."""
