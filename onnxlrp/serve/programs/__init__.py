"""What the programs of several servers share; copied beside a model, needs nothing of onnxlrp."""
