"""Asks `onnxlrp serve http` (or any Open Inference Protocol v2 server): Python and numpy only.

    python http_client.py http://127.0.0.1:8000 shapes_resnet input.npy --target 5 -o relevance.npz

The tensors travel as raw numbers behind a short JSON text: the binary tensor extension.
"""

import argparse
import json
import urllib.request

import numpy as np

LENGTH = "Inference-Header-Content-Length"


def infer(address, model, arrays):
    """Send arrays by name, return the outputs by name."""
    types = {"float32": "FP32", "float64": "FP64", "uint8": "UINT8", "int64": "INT64"}
    parts = [np.ascontiguousarray(array).tobytes() for array in arrays.values()]
    inputs = [
        {
            "name": name,
            "datatype": types[array.dtype.name],
            "shape": list(array.shape),
            "parameters": {"binary_data_size": len(part)},
        }
        for (name, array), part in zip(arrays.items(), parts, strict=True)
    ]
    text = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    request = urllib.request.Request(
        f"{address}/v2/models/{model}/infer",
        b"".join([text, *parts]),
        {LENGTH: str(len(text)), "Content-Type": "application/octet-stream"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        content, at = answer.read(), int(answer.headers[LENGTH])
    found = {}
    kinds = {name: dtype for dtype, name in types.items()}
    for output in json.loads(content[:at])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        flat = np.frombuffer(content[at : at + size], kinds[output["datatype"]])
        found[output["name"]] = flat.reshape(output["shape"])
        at += size
    return found


def main():
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address", help="http://127.0.0.1:8000")
    parser.add_argument("model", help="name of the model on the server")
    parser.add_argument("input", help=".npy file, [N, ...] as the model takes it")
    parser.add_argument("--target", type=int, help="class to explain")
    parser.add_argument("-o", "--out", default="relevance.npz", help="where the outputs go")
    options = parser.parse_args()
    with urllib.request.urlopen(f"{options.address}/v2/models/{options.model}") as answer:
        names = [entry["name"] for entry in json.load(answer)["inputs"]]
    arrays = {names[0]: np.load(options.input)}
    if options.target is not None:
        arrays["target"] = np.full(len(arrays[names[0]]), options.target, np.int64)
    found = infer(options.address, options.model, arrays)
    np.savez(options.out, **{name.replace("/", "|"): array for name, array in found.items()})
    for name, array in found.items():
        print(name, list(array.shape), float(array.sum()))


if __name__ == "__main__":
    main()
