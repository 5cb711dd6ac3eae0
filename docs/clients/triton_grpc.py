"""Explains a tensor on Triton over gRPC: arrays in, prediction and relevance out, all binary.

    pip install tritonclient[grpc] pillow
    python triton_grpc.py MODEL PICTURE relevance.npy [HOST:PORT]

The picture is prepared here, by x / 255; a model may need another preparation.
"""

import sys

import numpy as np
import tritonclient.grpc as triton
from PIL import Image

model, picture, out, *rest = sys.argv[1:]
client = triton.InferenceServerClient(rest[0] if rest else "127.0.0.1:8001")

(port,) = client.get_model_metadata(model).inputs
height, width = port.shape[2:]
pixels = Image.open(picture).convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
x = (np.asarray(pixels, np.float32) / 255).transpose(2, 0, 1)[None]

given = triton.InferInput(port.name, list(x.shape), "FP32")
given.set_data_from_numpy(np.ascontiguousarray(x))
answer = client.infer(model, [given])

relevance = answer.as_numpy(f"relevance/{port.name}")
np.save(out, relevance)
print("relevance", list(relevance.shape), "sums to", round(float(relevance.sum()), 3))
