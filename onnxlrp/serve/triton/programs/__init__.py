"""Models of Triton's Python backend; copied beside a model, they need nothing of onnxlrp."""
