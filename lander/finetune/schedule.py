"""Which pairs each micro-batch holds: a function of the seed and of the micro-batch's number, of nothing else.

Directions take turns, one per micro-batch, so that an update over as many micro-batches as there are directions sees
all of them. Within a direction each pair comes once per epoch. Pairs of similar length share a batch: the epoch's
random order is cut into pools, and sorted by length within each.
"""

import zlib
from dataclasses import dataclass, field

import numpy as np

POOL = 32  # batches that are sorted by length together: padding shrinks, the order stays random


@dataclass
class Pairs:
    """Tokenized pairs of one direction: flat int32 tokens, with the place where each prompt and each pair ends."""

    tokens: np.ndarray  # (all tokens,)
    ends: np.ndarray  # (pairs,) end of each pair in `tokens`
    prompt_lengths: np.ndarray  # (pairs,)
    too_long: int = 0  # pairs left out because of max_length

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> tuple[list[int], int]:
        """Tokens of a pair, and how many of them are its prompt."""
        start = self.ends[index - 1] if index else 0
        return self.tokens[start : self.ends[index]].tolist(), int(self.prompt_lengths[index])

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.ends, prepend=0)


@dataclass
class Schedule:
    """Directions in their order, with their pairs."""

    pairs: dict[str, Pairs]
    batch_size: int
    seed: int
    _epochs: dict[tuple[str, int], list[np.ndarray]] = field(default_factory=dict, repr=False)

    @property
    def directions(self) -> list[str]:
        return list(self.pairs)

    @property
    def longest(self) -> int:
        """Tokens of the longest pair."""
        return max(int(pairs.lengths.max()) for pairs in self.pairs.values())

    def batches_per_epoch(self, direction: str) -> int:
        return -(-len(self.pairs[direction]) // self.batch_size)

    def updates(self, epochs: float, accumulate: int) -> int:
        """Updates in which the largest direction is read `epochs` times; smaller ones begin again meanwhile."""
        turns = max(self.batches_per_epoch(direction) for direction in self.pairs) * epochs
        return max(1, round(turns * len(self.pairs) / accumulate))

    def direction(self, micro_batch: int) -> str:
        return self.directions[micro_batch % len(self.pairs)]

    def indices(self, micro_batch: int) -> np.ndarray:
        """Indices of the pairs of a micro-batch, numbered over the whole run."""
        direction = self.direction(micro_batch)
        epoch, place = divmod(micro_batch // len(self.pairs), self.batches_per_epoch(direction))
        key = direction, epoch
        if key not in self._epochs:
            random = np.random.default_rng([self.seed, zlib.crc32(direction.encode()), epoch])
            order, lengths = random.permutation(len(self.pairs[direction])), self.pairs[direction].lengths
            pool = self.batch_size * POOL
            parts = [order[start : start + pool] for start in range(0, len(order), pool)]
            ordered = np.concatenate([part[np.argsort(lengths[part], kind="stable")] for part in parts])
            batches = [ordered[start : start + self.batch_size] for start in range(0, len(ordered), self.batch_size)]
            self._epochs = {k: v for k, v in self._epochs.items() if k[0] != direction}  # one epoch per direction
            self._epochs[key] = [batches[index] for index in random.permutation(len(batches))]
        return self._epochs[key][place]
