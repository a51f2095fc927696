"""What the benchmarks share: systems that take turns, so that other load on the machine affects all of them alike."""

import statistics
import time
from collections.abc import Callable

import torch


def measure(systems: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each system in each round. The systems take turns; a first round warms up and does not count.

    One thread on a CPU is timed in CPU seconds, which other load on the machine does not change.
    """
    gpu = torch.cuda.is_available()
    clock = time.process_time if not gpu and torch.get_num_threads() == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    for round_ in range(rounds + 1):
        for name, run in systems.items():
            began = clock()
            run()
            if gpu:
                torch.cuda.synchronize()
            if round_:
                seconds[name].append(clock() - began)
    return seconds


def ratio(one: list[float], other: list[float]) -> float:
    """The median over rounds of one system's seconds to another's."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))
