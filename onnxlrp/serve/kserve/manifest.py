"""What Kubernetes and a container need to know of a service: manifest and Dockerfile."""

import json
from dataclasses import dataclass, field
from typing import Final

from onnxlrp.errors import InputError
from onnxlrp.serve.artefact import Artefact
from onnxlrp.serve.settings import Limits

DOCKERFILE: Final = """\
FROM python:3.12-slim
RUN useradd --create-home server
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY . .
USER server
EXPOSE 8080 8081
ENTRYPOINT ["python", "predictor.py", "--host", "0.0.0.0"]
"""

_MANIFEST: Final = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: {service}
  annotations:
    onnxlrp/source: {source}
    onnxlrp/composite: {composite}
spec:
  predictor:
    timeout: {timeout}
    containers:
      - name: kserve-container
        image: {image}
        args: ["--model_name", {name}]
        ports:
          - containerPort: 8080
            protocol: TCP
        readinessProbe:
          httpGet:
            path: /v2/health/ready
            port: 8080
        resources:
          requests:
            cpu: "{cpu}"
            memory: {memory}
          limits:
            cpu: "{cpu}"
            memory: {memory}{gpu}
        securityContext:
          allowPrivilegeEscalation: false
          runAsNonRoot: true
          runAsUser: 1000
          capabilities:
            drop: ["ALL"]
"""


@dataclass(frozen=True, kw_only=True)
class Service:
    """Choices for a service.

    Attributes:
        image: Name under which the image is pushed.
        device: `cpu` or `cuda`.
        cpu: Cores of a replica.
        memory: Memory of a replica, as Kubernetes writes it.
        timeout: Seconds a request may take.
        limits: What a request may ask for.
    """

    image: str
    device: str = "cpu"
    cpu: int = 2
    memory: str = "2Gi"
    timeout: int = 60
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Check the choices.

        Raises:
            InputError: One is out of range.
        """
        if self.device not in ("cpu", "cuda"):
            raise InputError(f"unknown device '{self.device}'; known: cpu, cuda")
        for name in ("cpu", "timeout"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name} must be at least 1, got {getattr(self, name)}")


def manifest(artefact: Artefact, service: Service) -> str:
    """Return the InferenceService as YAML; every text in it is quoted as JSON."""
    gpu = '\n            nvidia.com/gpu: "1"' if service.device == "cuda" else ""
    return _MANIFEST.format(
        service=json.dumps(_kubernetes(artefact.name)),
        source=json.dumps(artefact.metadata.source),
        composite=json.dumps(str(artefact.metadata.composite.get("name", ""))),
        name=json.dumps(artefact.name),
        image=json.dumps(service.image),
        timeout=service.timeout,
        cpu=service.cpu,
        memory=json.dumps(service.memory),
        gpu=gpu,
    )


def _kubernetes(name: str) -> str:
    """A name of lower case letters, digits and `-` that starts with a letter."""
    kept = "".join(c if c.isalnum() and c.isascii() else "-" for c in name.lower()).strip("-")
    return (kept if kept[:1].isalpha() else f"m-{kept}")[:63].rstrip("-")
