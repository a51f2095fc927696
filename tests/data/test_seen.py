"""Digests that have been met: the same answers as a set's, in the memory of the numbers."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lander.data.filters import LARGER, Seen


@given(st.lists(st.lists(st.integers(0, 40), max_size=9), max_size=40))
def test_it_answers_as_a_set_does(calls):
    seen, known = Seen(), set()
    for call in calls:
        wanted = [number not in known and number not in call[:place] for place, number in enumerate(call)]
        known.update(call)
        assert seen.add(np.array(call, dtype=np.uint64)).tolist() == wanted


def test_it_holds_each_number_once_in_few_runs():
    seen = Seen()
    numbers = np.random.default_rng(0).permutation(20_000).astype(np.uint64) << np.uint64(49)  # the largest ones too
    for part in np.array_split(np.concatenate([numbers, numbers[:500]]), 300):
        seen.add(part)
    lengths = [len(run) for run in seen._runs]
    assert sum(lengths) == 20_000
    assert all(first >= LARGER * second for first, second in pairwise(lengths))
    assert all((run[:-1] < run[1:]).all() for run in seen._runs)
