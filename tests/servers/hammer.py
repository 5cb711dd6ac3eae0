"""Asks a server from many threads at once and counts what comes back; runs inside any Python."""

import threading
import time
from collections import Counter


def hammer(make, clients, seconds):
    """Let each client ask until the time is over.

    Args:
        make: Makes what a client calls with a number; it returns "right" or says what is wrong.
        clients: Number of threads.
        seconds: How long they ask.

    Returns:
        Number of answers, what was wrong with them, requests per second, percentiles in ms.
    """
    found = Counter()
    times = []
    lock = threading.Lock()
    start = threading.Barrier(clients)

    def work(number):
        ask = make()
        start.wait()
        end = time.monotonic() + seconds
        turn = number
        while time.monotonic() < end:
            begin = time.perf_counter()
            said = _said(ask, turn)
            took = time.perf_counter() - begin
            with lock:
                found[said] += 1
                times.append(took * 1e3)
            turn += clients

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times.sort()
    return {
        "answers": len(times),
        "wrong": {said: count for said, count in found.items() if said != "right"},
        "per_second": round(len(times) / seconds, 1),
        "ms": {
            str(p): round(times[min(int(len(times) * p / 100), len(times) - 1)], 2)
            for p in (50, 90, 95, 99, 100)
        },
    }


def _said(ask, turn):
    try:
        return ask(turn)
    except Exception as error:  # noqa: BLE001 - any failure of a request is counted by its text
        return f"{type(error).__name__}: {str(error)[:200]}"
