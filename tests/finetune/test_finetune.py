"""Finetuning in small: the schedule, AdamW with idle groups, the learning rate, which checkpoint is of use.

Whole trainings: tests/runs/.
"""

import argparse
import math
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lander.finetune import __main__ as stage
from lander.finetune import checkpoint
from lander.finetune.__main__ import fingerprint
from lander.finetune.engine import BlockAdamW
from lander.finetune.schedule import Pairs, Schedule
from lander.finetune.trainer import LOG_COLUMNS, Diverged, damage_at_start, learning_rate, loss_rows
from lander.shared.errors import UserError
from lander.shared.files import whole_folder, write_json


def pairs(lengths: list[int]) -> Pairs:
    ends = np.cumsum(lengths)
    return Pairs(np.arange(ends[-1], dtype=np.int32), ends, np.ones(len(lengths), dtype=np.int32))


def test_pairs_come_back_as_they_were():
    assert list(pairs([3, 2])) == [([0, 1, 2], 1), ([3, 4], 1)]


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


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_adamw_does_nothing_with_a_gradient_that_is_not_finite_and_says_so(bad):
    weights = [torch.nn.Parameter(torch.ones(3)) for _ in range(3)]
    weights.append(torch.nn.Parameter(torch.ones(0, 3)))  # a block may be empty
    optimizer = BlockAdamW([{"params": [weight]} for weight in weights], lr=0.1, weight_decay=0.5)

    def stepped(value: float, idle: bool) -> bool:
        for weight in weights[:2]:
            weight.grad = torch.tensor([0.0, 1.0, value if weight is weights[1] else 1.0])
        weights[3].grad = torch.zeros(0, 3)
        optimizer.param_groups[1]["idle"] = idle
        before = weights[0].detach().clone()
        optimizer.step()
        assert len(optimizer.param_groups) == 4
        return not torch.equal(weights[0], before)

    assert stepped(1.0, idle=False)
    assert not optimizer.overflow
    assert not stepped(bad, idle=False)
    assert optimizer.overflow
    assert stepped(bad, idle=True)  # nothing is made of it
    assert not optimizer.overflow


def test_a_loss_that_is_not_finite_is_told_with_its_direction():
    losses = torch.tensor([[2.0, 1.0], [1.0, 9.0], [5.0, 3.0]], dtype=torch.float64)
    assert [row["loss"] for row in loss_rows(losses, ["a", "b", "a"], 0, 0.1)] == [4.25, 1.0]  # (2 * 1 + 5 * 3) / 4
    for value in (math.nan, math.inf):
        losses[1, 0] = value
        with pytest.raises(Diverged, match=f"loss of b is {value} at update 0; .* before any update"):
            loss_rows(losses, ["a", "b", "a"], 0, 0.1)
        with pytest.raises(Diverged, match=f"loss of b is {value} at update 7; lower finetune.learning_rate"):
            loss_rows(losses, ["a", "b", "a"], 7, 0.1)


def test_damage_is_what_the_first_update_loses_against_the_base(capsys, monkeypatch):
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 0)
    rows = [(0, "a", 4.0, 3, 0.1), (0, "b", 2.0, 1, 0.1), (1, "a", 9.0, 3, 0.1)]
    log = pd.DataFrame(rows, columns=LOG_COLUMNS)
    assert damage_at_start(log, 3.25) == 0.25  # (4 * 3 + 2 * 1) / 4
    assert "routing adds 0.25 nats" in capsys.readouterr().err
    assert damage_at_start(log, 3.45) == pytest.approx(0.05)
    assert damage_at_start(log, None) == 0
    assert capsys.readouterr().err == ""


def test_what_a_checkpoint_must_share_is_known_part_by_part(monkeypatch):
    masks = {"en-de": pd.DataFrame({"layer": [0, 0], "neuron": [1, 2]})}
    args = {"seed": 0, "train": [Path("a.parquet")], "steps": 5, "threads": 1, "zero_stage": 0, "out": Path("m")}

    def made(base="base", text=(3, 2), masks=masks, **changed) -> dict[str, str]:
        return fingerprint(argparse.Namespace(**args | changed), base, {"en-de": pairs(list(text))}, masks)

    first = made()

    def other(found: dict[str, str]) -> list[str]:
        assert found.keys() == first.keys()
        return [part for part, value in found.items() if value != first[part]]

    assert other(made(threads=2, zero_stage=3, out=Path("n"))) == []
    assert other(made(seed=1)) == other(made(steps=6)) == ["settings"]
    assert other(made(base="other")) == ["base"]
    assert other(made(text=(2, 3))) == ["text"]
    assert other(made(masks={"en-de": masks["en-de"].assign(neuron=[1, 3])})) == ["masks"]
    monkeypatch.setattr(stage, "code_digest", {"lander.finetune": "edited"}.__getitem__)
    monkeypatch.setattr(stage, "version", lambda name: "0" if name == "peft" else metadata.version(name))
    assert other(made()) == ["code", "peft"]


def test_the_newest_checkpoint_of_the_same_settings_counts_and_why_another_does_not(tmp_path):
    def saved(update: int, fingerprint) -> None:
        with whole_folder(tmp_path / f"update-{update:08d}") as folder:
            state = {"fingerprint": fingerprint, "update": update, "updates": [], "log": []}
            write_json(folder / "state.json", state)

    mine = {"settings": "a", "code": "b", "torch": "2.9"}
    assert checkpoint.latest(tmp_path, mine) == (None, "")
    saved(2, "of an older Lander")
    assert "update-00000002 was made with other settings, code, torch " in checkpoint.latest(tmp_path, mine)[1]
    saved(4, mine | {"code": "c", "torch": "2.8"})
    path, why = checkpoint.latest(tmp_path, mine)
    assert path is None
    assert "update-00000004 was made with other code, torch " in why
    saved(3, mine)
    assert checkpoint.latest(tmp_path, mine) == (tmp_path / "update-00000003", "")
    (tmp_path / "update-00000004" / "state.json").unlink()  # as a kill leaves it
    assert checkpoint.latest(tmp_path, {"settings": "b"})[0] is None
    state = tmp_path / "update-00000003" / "state.json"
    for content in ("[]", "{}", '{"fingerprint": "mi'):
        state.write_text(content)
        with pytest.raises(UserError, match=str(state)):
            checkpoint.latest(tmp_path, mine)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("constant", [0.5, 1, 1, 1, 1, 1]), ("linear", [0.5, 1, 1, 0.75, 0.5, 0.25])],
)
def test_learning_rate(schedule, expected):
    assert [learning_rate(i, 6, 1.0, 2, schedule) for i in range(6)] == pytest.approx(expected)
    assert learning_rate(4, 6, 1.0, 2, "cosine") == pytest.approx(0.5)
