"""Curves of a training in other tools: what they get, and that their faults end no training."""

import pytest

from lander.finetune import curves
from lander.finetune.curves import Curves
from lander.shared.errors import UserError

ROWS = [
    {"direction": "en-de", "loss": 2.0, "tokens": 30, "learning_rate": 0.1},
    {"direction": "de-en", "loss": 1.0, "tokens": 10, "learning_rate": 0.1},
]


class Stub:
    """A tracker that writes down what it is told, and fails at some calls."""

    def __init__(self, fails=()):
        self.calls, self.fails = [], fails

    def start(self):
        self.call("start")

    def finish(self):
        self.call("finish")

    def log(self, values, step):
        self.call(step, values)

    def call(self, *what):
        self.calls.append(what)
        if what[0] in self.fails:
            raise ConnectionError("no route to host\nat all")


def test_a_tracker_that_fails_is_left_out(monkeypatch, tmp_path, capsys):
    good, weak = Stub(fails=["finish"]), Stub(fails=[2])
    monkeypatch.setattr(curves, "TRACKERS", {"good": lambda *_: good, "weak": lambda *_: weak})
    with Curves(["good", "weak"], tmp_path).start(2) as found:
        for update in (2, 3):
            found.log(update, 1.75, ROWS)
    values = {"loss/all": 1.75, "learning_rate": 0.1, "loss/en-de": 2.0, "loss/de-en": 1.0}
    assert good.calls == [("start",), (2, values), (3, values), ("finish",)]
    assert [call[0] for call in weak.calls] == ["start", 2]
    assert "weak has no curves from update 2 on: no route to host" in capsys.readouterr().err
    monkeypatch.setitem(curves.TRACKERS, "weak", lambda *_: Stub(fails=["start"]))
    with pytest.raises(UserError, match=r"finetune\.report_to: weak: no route to host; set it up"):
        Curves(["weak"], tmp_path).start(1)


def test_event_files_as_tensorboard_reads_them(tmp_path):
    """A training that goes on from an earlier checkpoint replaces what came after it."""
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for first, losses in ((1, [3.0, 2.0, 9.0]), (3, [1.0, 0.5])):
        with Curves(["tensorboard"], tmp_path).start(first) as found:
            for update, loss in enumerate(losses, first):
                found.log(update, loss, ROWS)
    events = reading.EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss/all")] == [(1, 3), (2, 2), (3, 1), (4, 0.5)]
    assert events.Tags()["scalars"] == ["loss/all", "learning_rate", "loss/en-de", "loss/de-en"]
