"""Runs in the environment with Ray: MODEL DATA OUT kill|poison, three actors on two CPU slots.

`kill`: an actor is killed in the middle. `poison`: every actor that reads POISON kills itself.
"""

import os
import signal
import sys
from pathlib import Path

import ray

from onnxlrp.data import Preprocessing
from onnxlrp.distribute import Job, Plan, run
from onnxlrp.distribute.items import Source
from onnxlrp.distribute.reader import Reader

SHARDS_BEFORE_KILL = 3
POISON = "0033.png"


def take_poison():
    """Ray calls this in every worker process that it starts."""
    read = Reader.read

    def deadly(self, item):
        if item.name == POISON:
            os.kill(os.getpid(), signal.SIGKILL)
        return read(self, item)

    Reader.read = deadly


def children(pid):
    return map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def actors():
    """The actors of the cluster that this process started."""
    found = [(pid, Path(f"/proc/{pid}/cmdline").read_bytes()) for pid in children(os.getpid())]
    raylets = [pid for pid, line in found if b"raylet/raylet" in line]
    inner = [pid for raylet in raylets for pid in children(raylet)]
    return [p for p in inner if b"MapWorker" in Path(f"/proc/{p}/cmdline").read_bytes()]


def main(model, data, out, way):
    killed = []
    calls = 0

    def progress(done, total):
        nonlocal calls
        calls += 1
        if way == "kill" and calls > SHARDS_BEFORE_KILL and not killed:
            killed.extend(actors()[:1])
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    hook = {"worker_process_setup_hook": take_poison} if way == "poison" else {}
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=hook)
    job = Job(
        model=model,
        source=Source.of(data),
        out=out,
        preprocessing=Preprocessing.parse("unit").to_json(),
        threads=1,
    )
    summary = run(job, Plan(engine="ray", workers=3, shard_size=10, retries=1), progress)
    ray.shutdown()
    found = (len(killed), summary.explained, summary.failed, summary.lost)
    sys.stdout.write("\nfound " + " ".join(map(str, found)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
