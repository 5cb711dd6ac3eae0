"""The predictor of KServe; copied beside a model, it needs nothing of onnxlrp."""
