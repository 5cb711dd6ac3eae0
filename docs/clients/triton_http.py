"""Explains a picture on Triton over HTTP: bytes of the file in, prediction and heatmap out.

    pip install tritonclient[http]
    python triton_http.py MODEL PICTURE heatmap.png [HOST:PORT]

MODEL_image is the ensemble that `onnxlrp serve triton --ensemble` writes.
"""

import sys
from pathlib import Path

import numpy as np
import tritonclient.http as triton

model, picture, out, *rest = sys.argv[1:]
client = triton.InferenceServerClient(rest[0] if rest else "127.0.0.1:8000")

content = np.array([Path(picture).read_bytes()], object)
given = triton.InferInput("picture", [1], "BYTES")
given.set_data_from_numpy(content)
answer = client.infer(f"{model}_image", [given])

Path(out).write_bytes(answer.as_numpy("heatmap")[0])
for output in answer.get_response()["outputs"]:
    if output["name"] != "heatmap":
        print(output["name"], answer.as_numpy(output["name"]).round(3).tolist())
