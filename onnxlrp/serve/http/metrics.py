"""Numbers of the HTTP server for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SAMPLES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counts requests, how long they take, and how many samples a run has.

    Attributes:
        requests: Requests by route and status.
        seconds: Time to the answer, by route.
        samples: Samples per run.
        active: Requests under way.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self.requests = Counter(
            "onnxlrp_requests", "Requests.", ("route", "status"), registry=registry
        )
        self.seconds = Histogram(
            "onnxlrp_request_seconds",
            "Time to the answer.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.samples = Histogram(
            "onnxlrp_run_samples", "Samples per run.", buckets=_SAMPLES, registry=registry
        )
        self.active = Gauge("onnxlrp_active_requests", "Requests under way.", registry=registry)

    def text(self) -> bytes:
        """Return the numbers in the text format of Prometheus."""
        return generate_latest(self._registry)
