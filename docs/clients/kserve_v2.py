"""Explains a tensor on any server of the Open Inference Protocol v2, with binary tensors.

    pip install numpy
    python kserve_v2.py MODEL INPUT.npy relevance.npy [HOST:PORT]

The protocol is that of KServe, Triton and others: JSON, then the bytes of the tensors.
"""

import http.client
import json
import sys

import numpy as np

model, source, out, *rest = sys.argv[1:]
connection = http.client.HTTPConnection(rest[0] if rest else "127.0.0.1:8080")

connection.request("GET", f"/v2/models/{model}")
port = json.load(connection.getresponse())["inputs"][0]
x = np.ascontiguousarray(np.load(source), np.float32)

tensor = {"name": port["name"], "datatype": "FP32", "shape": list(x.shape)}
tensor["parameters"] = {"binary_data_size": x.nbytes}
head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
headers = {
    "Content-Type": "application/octet-stream",
    "Inference-Header-Content-Length": str(len(head)),
}
connection.request("POST", f"/v2/models/{model}/infer", head + x.tobytes(), headers)
response = connection.getresponse()
content = response.read()
if response.status != 200:
    sys.exit(content.decode())

length = int(response.headers["Inference-Header-Content-Length"])
start = length
for output in json.loads(content[:length])["outputs"]:
    size = output["parameters"]["binary_data_size"]
    array = np.frombuffer(content[start : start + size], np.float32).reshape(output["shape"])
    start += size
    print(output["name"], list(array.shape))
    if output["name"] == f"relevance/{port['name']}":
        np.save(out, array)
