"""Explains a picture on KServe with nothing but Python: v1 `:explain`, JSON over HTTP.

python kserve_explain.py MODEL PICTURE heatmap.png [http://HOST:PORT]
"""

import base64
import json
import sys
import urllib.request
from pathlib import Path

model, picture, out, *rest = sys.argv[1:]
url = f"{rest[0] if rest else 'http://127.0.0.1:8080'}/v1/models/{model}:explain"

text = base64.b64encode(Path(picture).read_bytes()).decode()
body = json.dumps({"instances": [{"b64": text}]}).encode()
request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
with urllib.request.urlopen(request) as response:
    answer = json.load(response)

Path(out).write_bytes(base64.b64decode(answer["explanations"][0]["heatmap"]["b64"]))
print("prediction", answer["predictions"][0])
