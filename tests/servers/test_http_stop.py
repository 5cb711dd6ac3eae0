"""Stopping, full queues and slow bodies; how requests share runs."""

import re
import signal
import socket
import threading
import time
from contextlib import contextmanager

import pytest

from onnxlrp.errors import InputError
from onnxlrp.runtime import Explainer, Request
from tests.servers.http_server import (
    HEADER,
    INFER,
    binary,
    close,
    head,
    lives,
    read_binary,
    running,
)


@contextmanager
def half_sent(server, content, headers):
    """A request whose second half waits."""
    lines = [f"{name}: {value}" for name, value in headers.items()]
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as line:
        line.sendall(head(*lines, f"Content-Length: {len(content)}", "Connection: close"))
        line.sendall(content[:1000])
        yield line


def answer_of(line):
    received = b""
    while part := line.recv(65536):
        received += part
    start, _, content = received.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)" + HEADER.encode() + rb": (\d+)", start)
    return int(start.split()[1]), content, int(length[1]) if length else len(content)


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def refused(server):
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_sigterm_finishes_what_runs(graph, samples):
    x, target, expected = samples
    content, headers = binary(x[:1], target[:1])
    with running(graph) as server, half_sent(server, content, headers) as line:
        wait_for(lambda: server.value("onnxlrp_active_requests") == 1)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: refused(server))
        line.sendall(content[1000:])
        status, answer, length = answer_of(line)
        assert status == 200
        assert close(read_binary(answer, length), expected[0])
        assert server.process.wait(30) == 0


def test_full_queue_and_slow_bodies(graph, samples):
    x, target, _ = samples
    content, headers = binary(x[:1], target[:1])
    with running(graph, "--queue", "1", "--timeout", "2") as server:
        with half_sent(server, content, headers) as line:
            wait_for(lambda: server.value("onnxlrp_active_requests") == 1)
            status, answer, said = server.ask(INFER, content, headers)
            assert (status, said["Retry-After"]) == (503, "1"), answer
            assert answer_of(line)[0] == 408
        lives(server, samples)


class Gate:
    """An explainer whose runs wait until the gate opens."""

    def __init__(self, graph):
        self.explain, self.open, self.runs = Explainer(str(graph)), threading.Event(), []

    def prepare(self, request, batch_size=32):
        return self.explain.prepare(request, batch_size)

    def together(self, jobs):
        self.runs.append(len(jobs))
        assert self.open.wait(60)
        return self.explain.together(jobs)

    def stop(self):
        self.explain.stop()

    def resume(self):
        self.explain.resume()


@pytest.fixture
def gate(graph):
    return Gate(graph)


def test_batcher_joins_what_waits_and_leaves_out_the_cancelled(gate, samples):
    from onnxlrp.serve.http.batch import Batcher

    x, target, expected = samples
    batcher = Batcher(gate, size=4, queue=16)
    asked = [Request(inputs={"image": x[k : k + 1]}, target=target[k : k + 1]) for k in range(8)]
    futures = [batcher.submit(asked[0])]
    wait_for(lambda: gate.runs)
    futures += [batcher.submit(request) for request in asked[1:]]
    assert futures[2].cancel()
    with pytest.raises(InputError, match="out of range"):
        batcher.submit(Request(inputs={"image": x[:1]}, target=[6]))
    gate.open.set()
    batcher.close()
    assert gate.runs == [1, 3, 3]
    for k, future in enumerate(futures):
        if k != 2:
            result = future.result()
            assert close((result.outputs["logits"], result.relevance["image"]), expected[k])


def test_batcher_refuses_when_full_or_closed(gate, samples):
    from onnxlrp.serve.http.batch import Batcher
    from onnxlrp.serve.http.limits import Refused

    x, target, _ = samples
    request = Request(inputs={"image": x[:1]}, target=target[:1])
    batcher = Batcher(gate, size=4, queue=1)
    batcher.submit(request)
    wait_for(lambda: gate.runs)
    waiting = batcher.submit(request)
    with pytest.raises(Refused, match="1 requests wait already"):
        batcher.submit(request)
    gate.open.set()
    assert waiting.result(30).target is not None
    batcher.close()
    with pytest.raises(Refused, match="stopping"):
        batcher.submit(request)
