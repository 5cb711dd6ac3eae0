"""Asks a KServe predictor with KServe's own client for gRPC, and over HTTP; environment `kserve`.

usage: kserve_client.py values|load|refused JOB.json; prints JSON.
"""

import asyncio
import http.client
import json
import sys

import grpc
import numpy as np
import onnxruntime
from hammer import hammer
from kserve import InferInput, InferRequest, InferResponse
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as stubs


def request_of(job, array, datatype="FP32", name=None, binary=True):
    given = InferInput(name or job["input"], list(array.shape), datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    parameters = {"binary_data_output": binary}
    return InferRequest(model_name=job["model"], infer_inputs=[given], parameters=parameters)


def http_asker(job):
    connection = http.client.HTTPConnection("127.0.0.1", job["http"], timeout=60)

    def ask(request):
        body, length = request.to_rest()
        headers = {"Content-Type": "application/json"}
        if length is None:
            body = json.dumps(body)
        else:
            headers["Content-Type"] = "application/octet-stream"
            headers["Inference-Header-Content-Length"] = str(length)
        connection.request("POST", f"/v2/models/{job['model']}/infer", body, headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} {content.decode()}")
        head = answer.headers.get("Inference-Header-Content-Length")
        if head:
            return InferResponse.from_bytes(content, int(head))
        return InferResponse.from_rest(json.loads(content))

    return ask


def grpc_asker(job):
    most = [("grpc.max_send_message_length", 2**28), ("grpc.max_receive_message_length", 2**28)]
    channel = grpc.insecure_channel(f"127.0.0.1:{job['grpc']}", options=most)
    stub = stubs.GRPCInferenceServiceStub(channel)

    def ask(request):
        return InferResponse.from_grpc(stub.ModelInfer(request.to_grpc(), timeout=60))

    return ask


ASKERS = {"http": http_asker, "grpc": grpc_asker}


def off_by(answer, expected):
    """Largest difference per output, or both shapes where they differ."""
    found = {}
    for name, array in expected.items():
        got = answer.get_output_by_name(name).as_numpy()
        same = got.shape == array.shape
        found[name] = (
            float(np.abs(got - array).max()) if same else [list(got.shape), list(array.shape)]
        )
    return found


def plain(job):
    session = onnxruntime.InferenceSession(job["model_file"])
    names = [port.name for port in session.get_outputs()]
    return lambda x: dict(zip(names, session.run(None, {job["input"]: x}), strict=True))


def values(job):
    run, samples, found = plain(job), np.load(job["samples"]), {}
    for kind, asker in ASKERS.items():
        for count in (1, 3):
            for binary in (True, False) if kind == "http" else (True,):
                x = samples[:count]
                answer = asker(job)(request_of(job, x, binary=binary))
                for name, off in off_by(answer, run(x)).items():
                    found[f"{kind} {count} {binary} {name}"] = off
    return found


def load(job):
    run, samples = plain(job), np.load(job["samples"])
    expected = [run(sample[None]) for sample in samples]

    def make():
        asker = ASKERS[job["kind"]](job)

        def ask(turn):
            index = turn % len(samples)
            answer = asker(request_of(job, samples[index][None]))
            for name, off in off_by(answer, expected[index]).items():
                if off != 0.0:
                    return f"{name} is off by {off}"
            return "right"

        return ask

    return hammer(make, job["clients"], job["seconds"])


def refused(job):
    found = {}
    for kind, asker in ASKERS.items():
        for name, (port, path, datatype) in job["bad"].items():
            try:
                asker(job)(request_of(job, np.load(path), datatype, port))
                found[f"{kind} {name}"] = ""
            except (RuntimeError, grpc.RpcError) as error:
                found[f"{kind} {name}"] = str(error)
    return found


def manifest(job):
    """Fields of the manifest that KServe's and Kubernetes' own classes do not have, and texts."""
    import yaml
    from kserve import V1beta1InferenceServiceSpec, V1beta1PredictorSpec
    from kubernetes.client import V1Container, V1SecurityContext

    with open(job["manifest"]) as file:
        found = yaml.safe_load(file)
    predictor = found["spec"]["predictor"]
    (container,) = predictor["containers"]
    unknown = []
    for entries, kind in (
        (found["spec"], V1beta1InferenceServiceSpec),
        (predictor, V1beta1PredictorSpec),
        (container, V1Container),
        (container["securityContext"], V1SecurityContext),
    ):
        unknown += sorted(set(entries) - set(kind.attribute_map.values()))
    return {"unknown": unknown, "image": container["image"], "args": container["args"]}


if __name__ == "__main__":
    with open(sys.argv[2]) as file:
        asked = json.load(file)
    asyncio.set_event_loop(asyncio.new_event_loop())
    sys.stdout.write(json.dumps(globals()[sys.argv[1]](asked)))
