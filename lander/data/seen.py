"""A set of numbers that takes no more memory than the numbers themselves."""

import numpy as np

LARGER = 8  # a run is at least so many times as long as the next one


class Seen:
    """64-bit digests that have been met, in 8 bytes each: sorted runs, each `LARGER` times as long as the next.

    A new run is merged with the ones before it that are not so much longer, so a number is written again only a few
    times, and there are few runs to look into. While the longest are merged there are two copies of them.
    """

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []

    def add(self, digests: np.ndarray) -> np.ndarray:
        """Whether each (uint64) is new: not in any earlier call, and not before it in this one. (bool, digests)"""
        unique, first = np.unique(digests, return_index=True)
        fresh = np.ones(len(unique), dtype=bool)
        for run in self._runs:
            places = np.minimum(np.searchsorted(run, unique), len(run) - 1)
            fresh &= run[places] != unique
        new = np.zeros(len(digests), dtype=bool)
        new[first[fresh]] = True
        if fresh.any():
            self._merge(unique[fresh])
        return new

    def _merge(self, run: np.ndarray) -> None:
        while self._runs and len(self._runs[-1]) < LARGER * len(run):
            run = np.concatenate([self._runs.pop(), run])
            run.sort(kind="stable")  # two sorted runs, found and merged
        self._runs.append(run)
