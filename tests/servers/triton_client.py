"""Asks a Triton server with NVIDIA's own client; runs inside the environment `triton`.

usage: triton_client.py values|load JOB.json; prints JSON.
"""

import json
import sys

import numpy as np
import onnxruntime
import tritonclient.grpc
import tritonclient.http
from hammer import hammer

MODULES = {"http": tritonclient.http, "grpc": tritonclient.grpc}


def client_of(kind, job):
    return MODULES[kind].InferenceServerClient(job[kind])


def tensor(kind, name, array, dtype, binary=True):
    given = MODULES[kind].InferInput(name, list(array.shape), dtype)
    if kind == "http":
        given.set_data_from_numpy(array, binary_data=binary)
    else:
        given.set_data_from_numpy(array)
    return given


def wanted(kind, names, binary=True):
    if kind == "http":
        return [MODULES[kind].InferRequestedOutput(name, binary_data=binary) for name in names]
    return [MODULES[kind].InferRequestedOutput(name) for name in names]


def values(job):
    """Largest difference to a session of this process, per protocol, batch and output."""
    session = onnxruntime.InferenceSession(job["model_file"])
    names = [port.name for port in session.get_outputs()]
    samples = np.load(job["samples"])
    found = {}
    for kind in MODULES:
        for count in (1, 3):
            for binary in (True, False) if kind == "http" else (True,):
                x = samples[:count]
                expected = session.run(None, {job["input"]: x})
                given = tensor(kind, job["input"], x, "FP32", binary)
                asked = wanted(kind, names, binary)
                answer = client_of(kind, job).infer(job["model"], [given], outputs=asked)
                for name, array in zip(names, expected, strict=True):
                    got = answer.as_numpy(name)
                    found[f"{kind} {count} {binary} {name}"] = (
                        [list(got.shape), list(array.shape)]
                        if got.shape != array.shape
                        else float(np.abs(got - array).max())
                    )
    return found


def load(job):
    """16 clients at once, each with a connection of its own."""
    session = onnxruntime.InferenceSession(job["model_file"])
    names = [port.name for port in session.get_outputs()]
    samples = np.load(job["samples"])
    expected = [session.run(None, {job["input"]: sample[None]}) for sample in samples]
    kind = job["kind"]

    def make():
        client = client_of(kind, job)

        def ask(turn):
            index = turn % len(samples)
            given = tensor(kind, job["input"], samples[index][None], "FP32")
            answer = client.infer(job["model"], [given], outputs=wanted(kind, names))
            for name, array in zip(names, expected[index], strict=True):
                got = answer.as_numpy(name)
                if got.shape != array.shape:
                    return f"shape {got.shape}"
                if not np.abs(got - array).max() <= job["tolerance"] * np.abs(array).max():
                    return f"{name} is off"
            return "right"

        return ask

    return hammer(make, job["clients"], job["seconds"])


def picture(job):
    """What the ensemble answers to the bytes of a picture."""
    with open(job["picture"], "rb") as file:
        content = np.array([file.read()], object)
    found = {}
    for kind in MODULES:
        given = tensor(kind, "picture", content, "BYTES")
        answer = client_of(kind, job).infer(job["model"] + "_image", [given])
        png = answer.as_numpy("heatmap")[0]
        found[kind] = {"logits": answer.as_numpy("logits").tolist(), "png": png.hex()}
    return found


def refused(job):
    """What Triton says to pictures and tensors that it should refuse."""
    found = {}
    for kind in MODULES:
        client = client_of(kind, job)
        for name, (model, port, path, dtype) in job["bad"].items():
            array = np.load(path) if path.endswith(".npy") else _bytes(path)
            try:
                client.infer(model, [tensor(kind, port, array, dtype)])
                found[f"{kind} {name}"] = ""
            except (
                tritonclient.http.InferenceServerException,
                tritonclient.grpc.InferenceServerException,
            ) as error:
                found[f"{kind} {name}"] = str(error)
    return found


def _bytes(path):
    with open(path, "rb") as file:
        return np.array([file.read()], object)


if __name__ == "__main__":
    with open(sys.argv[2]) as file:
        asked = json.load(file)
    sys.stdout.write(json.dumps(globals()[sys.argv[1]](asked)))
