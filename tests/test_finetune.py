"""Finetuning in small: the schedule, AdamW with idle groups, the learning rate. Whole trainings: tests/workflow/."""

import numpy as np
import pytest
import torch

from lander.finetune.optimizer import BlockAdamW, learning_rate
from lander.finetune.schedule import Pairs, Schedule


def pairs(lengths: list[int]) -> Pairs:
    ends = np.cumsum(lengths)
    return Pairs(np.arange(ends[-1], dtype=np.int32), ends, np.ones(len(lengths), dtype=np.int32))


def test_pairs_come_back_as_they_were():
    assert pairs([3, 2])[0] == ([0, 1, 2], 1)
    assert pairs([3, 2])[1] == ([3, 4], 1)


def test_directions_take_turns_and_each_pair_comes_once_per_epoch():
    schedule = Schedule({"a": pairs([3] * 7), "b": pairs([3] * 4)}, batch_size=2, seed=0)
    assert [schedule.direction(i) for i in range(4)] == ["a", "b", "a", "b"]
    epoch = np.concatenate([schedule.indices(i) for i in range(0, 8, 2)])
    assert sorted(epoch) == list(range(7))
    assert schedule.updates(epochs=1, accumulate=2) == 4  # 4 batches of `a`, as many turns for `b`


def test_schedule_depends_on_the_seed_alone():
    def order(seed: int, start: int) -> list[list[int]]:
        schedule = Schedule({"a": pairs(list(range(1, 60)))}, batch_size=4, seed=seed)
        return [schedule.indices(i).tolist() for i in range(start, 40)]

    assert order(0, 0)[20:] == order(0, 20)
    assert order(0, 0) != order(1, 0)


def test_batches_are_of_similar_length():
    lengths = np.random.default_rng(0).integers(5, 100, 512)
    schedule = Schedule({"a": pairs(lengths.tolist())}, batch_size=8, seed=0)
    padding = [1 - lengths[batch].mean() / lengths[batch].max() for batch in map(schedule.indices, range(64))]
    assert np.mean(padding) < 0.05


def test_adamw_without_idle_groups_is_torchs_and_idle_groups_do_not_move():
    torch.manual_seed(0)
    start = [torch.randn(3), torch.randn(3)]
    ours, torchs = ([torch.nn.Parameter(value.clone()) for value in start] for _ in range(2))
    a = BlockAdamW([{"params": [p]} for p in ours], lr=0.1, weight_decay=0.5)
    b = torch.optim.AdamW([{"params": [p]} for p in torchs], lr=0.1, weight_decay=0.5)
    for step in range(4):
        for p, q in zip(ours, torchs, strict=True):
            p.grad = q.grad = torch.full((3,), float(step + 1))
        a.step()
        b.step()
    assert all(torch.equal(p, q) for p, q in zip(ours, torchs, strict=True))
    a.param_groups[1]["idle"] = True
    before, moment = ours[1].detach().clone(), a.state[ours[1]]["exp_avg"].clone()
    ours[1].grad = torch.zeros(3)
    a.step()
    assert torch.equal(ours[1], before)
    assert torch.equal(a.state[ours[1]]["exp_avg"], moment)
    assert not torch.equal(ours[0], torchs[0])


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("constant", [0.5, 1, 1, 1, 1, 1]), ("linear", [0.5, 1, 1, 0.75, 0.5, 0.25])],
)
def test_learning_rate(schedule, expected):
    assert [learning_rate(i, 6, 1.0, 2, schedule) for i in range(6)] == pytest.approx(expected)
    assert learning_rate(4, 6, 1.0, 2, "cosine") == pytest.approx(0.5)
