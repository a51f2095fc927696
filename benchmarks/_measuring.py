"""What the benchmarks share: systems that take turns, so that a machine's moods meet all of them alike."""

import statistics
import time
from collections.abc import Callable

import torch


def measure(systems: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each system in each round, the systems taking turns; one round before does not count.

    One thread of a CPU is timed by the CPU's clock, which stands still while others have the core.
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
