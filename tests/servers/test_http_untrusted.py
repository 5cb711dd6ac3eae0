"""The server is attacked: huge, nested, endless and misleading requests, over sockets."""

import json
import re
import signal
import socket
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.servers.endless import FOREVER, asked, endless
from tests.servers.http_server import (
    INFER,
    ROOT,
    compiled,
    head,
    lives,
    running,
    sixteen,
    tensors,
)

STAR = ROOT / "models" / "pictures" / "shapes_star.png"
MOST_MIB = 1500
"""Far above what the server needs, far below what the attacks ask for."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("untrusted")
    (folder / "shapes.lrp.onnx").write_bytes(compiled())
    (folder / "labels.txt").write_text('<img src=x onerror="alert(1)">\n</script>\nc\n')
    pictures = ("--preprocess", "unit", "--labels", str(folder / "labels.txt"))
    with running(folder / "shapes.lrp.onnx", *pictures, "--timeout", "20") as found:
        yield found


def peak(server):
    """The most memory that the server ever had, in MiB."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def image(**entries):
    one = tensors(np.zeros((1, 3, 64, 64), np.float32), np.array([2]))
    one["inputs"][0].update(entries)
    return one


ATTACKS = {
    "one long text among many": (
        image(data=["x" * 200_000] + ["a"] * 40_000),
        "must be numbers",
    ),
    "text and numbers": (image(data=[1.0, "x"] * 6144), "must be numbers"),
    "millions of lists": (image(data=[[]] * 2_000_000), "comes with 0 values"),
    "deep lists": (
        json.dumps(image(data="DEEP")).replace('"DEEP"', "[" * 500 + "]" * 500).encode(),
        "comes with 0|unequal|nested",
    ),
    "long name": (image(name="n" * 1_000_000), "has no input 'nnn"),
    "long type": (image(datatype="F" * 1_000_000), "has datatype FP32"),
    "lines in a name": (image(name="a\r\nSet-Cookie: b\r\n\r\n<script>"), "has no input"),
    "half a letter": (b'{"inputs": [{"name": "\\ud800"}]}', "has no input"),
    "long number": (b'{"inputs": ' + b"9" * 100_000 + b"}", "is not JSON"),
    "number too long for a float": (
        json.dumps(image(data="LONG")).replace('"LONG"', f"[{'9' * 400}, 0.5]").encode(),
        "unequal|must be numbers|expects",
    ),
    "many axes": (image(shape=[1] * 1000), "at most 16"),
    "product overflows": (image(shape=[2**32, 2**32, 2, 2]), "comes with"),
    "zero hides a product": (image(shape=[0, 2**39, 2**39]), "comes with 12288 values"),
    "nothing": (image(shape=[0, 3, 64, 64], data=[]), "."),
    "shape of bools": (image(shape=[True, 3, 64, 64]), "whole numbers"),
    "null": (image(data=None), "must be a JSON list"),
}


@pytest.mark.parametrize("case", ATTACKS)
def test_hostile_json(server, case):
    body, reason = ATTACKS[case]
    status, answer = server.infer(body)
    assert status == 400, answer
    assert len(answer["error"]) < 500
    assert "\n" not in answer["error"]
    assert re.search(reason, answer["error"]), answer
    assert peak(server) < MOST_MIB
    lives(server, sixteen())


def chunk(kind, content):
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png(width, height, *extra):
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 1) * height)) if width * height < 10**6 else b""
    parts = (chunk(b"IHDR", header), *extra, chunk(b"IDAT", rows), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def saved(picture, kind, **options):
    content = BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


BOMB = zlib.compress(bytes(200 * 2**20), 9)
FRAMES = [Image.new("RGB", (500, 500), (k, 0, 0)) for k in range(50)]
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
DAMAGED_EXIF = b"MM\0*\0\0\0\x08\0\x02" + struct.pack(">HHIf", 0x10E, 11, 1, 1.5)
DAMAGED_EXIF += struct.pack(">HHIHH", 0x112, 3, 1, 6, 0) + bytes(4)

PICTURES = {
    "compressed text": (png(64, 64, chunk(b"zTXt", b"a\0\0" + BOMB)), 400),
    "compressed colours": (png(64, 64, chunk(b"iCCP", b"a\0\0" + BOMB)), 400),
    "no pixels": (png(0, 64), 400),
    "too many pixels": (png(2**31 - 1, 2**31 - 1), 400),
    "one line": (png(1, 100_000), 400),
    "truncated jpeg": (saved(NOISE, "JPEG")[:900], 400),
    "truncated webp": (saved(NOISE, "WEBP")[:900], 400),
    "many frames": (saved(FRAMES[0], "PNG", save_all=True, append_images=FRAMES[1:]), 200),
    "moving webp": (saved(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:]), 200),
    "damaged exif": (saved(NOISE, "PNG", exif=DAMAGED_EXIF), 200),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>", 400),
}


@pytest.mark.parametrize("case", PICTURES)
def test_hostile_pictures(server, case):
    content, expected = PICTURES[case]
    status, answer, _ = server.ask("/explain", content)
    assert status == expected, answer[:300]
    if status == 400:
        assert json.loads(answer)["error"]
    assert peak(server) < MOST_MIB
    assert server.ask("/explain", STAR.read_bytes())[0] == 200


@pytest.mark.parametrize("endless_part", [b"x" * 65536, b"X-A: b\r\n" * 8192])
def test_headers_that_do_not_end(server, endless_part):
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as line:
        line.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        try:
            for _ in range(200):
                line.sendall(endless_part)
            received = line.recv(200)
        except OSError:
            received = b""  # cut off, which is as good
    assert not received or re.match(rb"HTTP/1.1 4\d\d ", received)
    assert peak(server) < MOST_MIB
    lives(server, sixteen())


@pytest.mark.parametrize(
    "line",
    ["Content-Length: -1", "Content-Length: 1\r\nContent-Length: 2", "Content-Length: x"],
)
def test_lengths_that_are_none(server, line):
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as link:
        link.sendall(head(line) + b"{}")
        assert b" 400 " in link.recv(200)
    lives(server, sixteen())


def test_browsers_are_told_to_run_nothing_else(server):
    for path in ("/", "/about", "/v2", "/metrics", "/absent"):
        _, _, said = server.ask(path)
        assert said["X-Content-Type-Options"] == "nosniff"
        assert said["Access-Control-Allow-Origin"] is None
    policy = server.ask("/")[2]["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    about, said = server.ask("/about")[1:]
    assert said["Content-Type"] == "application/json"
    assert json.loads(about)["labels"][0] == '<img src=x onerror="alert(1)">'


def test_a_page_of_another_site_may_not_ask(server):
    body = STAR.read_bytes()
    for site, status in (("cross-site", 403), ("same-origin", 200), ("none", 200)):
        assert server.ask("/explain", body, {"Sec-Fetch-Site": site})[0] == status
    assert server.ask(INFER, b"{}", {"Sec-Fetch-Site": "cross-site"})[0] == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:80", "localhost.evil", ""]
)
def test_a_name_that_is_not_ours(server, host):
    assert server.ask("/v2", headers={"Host": host})[0] == 400


def test_loopback_is_what_the_address_says():
    from onnxlrp.serve.http.run import loopback_names

    for host in ("127.0.0.1", "localhost", "::1", "[::1]", "127.8.8.8"):
        assert host in loopback_names(host)
    for host in ("0.0.0.0", "::", "10.0.0.1", "localhost.evil", "127.0.0.1.evil", ""):
        assert loopback_names(host) == ()


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/page.js/../desk.py",
        "/style.css%00",
        "/v2/models/..%2f..%2fetc/infer",
        "//etc/passwd",
        "/http/page/index.html",
    ],
)
def test_no_file_but_those_of_the_page(server, path):
    assert server.ask(path)[0] == 404


@pytest.fixture
def slow(tmp_path):
    path = tmp_path / "endless.onnx"
    path.write_bytes(endless())
    with running(path, "--timeout", "2") as found:
        yield found


def test_a_run_without_end_is_broken_off(slow):
    assert slow.infer(asked(3))[0] == 200
    for _ in range(2):
        status, answer = slow.infer(asked(FOREVER))
        assert (status, answer["error"]) == (504, "no answer within 2 seconds")
        status, answer = slow.infer(asked(5))
        assert (status, answer["outputs"][0]["data"]) == (200, [5.0])


def test_a_run_without_end_does_not_keep_the_server_alive(slow):
    body = json.dumps(asked(FOREVER)).encode()
    with socket.create_connection(("127.0.0.1", slow.port), timeout=60) as line:
        line.sendall(head(f"Content-Length: {len(body)}") + body)
        while not slow.value("onnxlrp_active_requests"):
            pass
        slow.process.send_signal(signal.SIGTERM)
        assert slow.process.wait(30) == 0
