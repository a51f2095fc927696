"""Live curves of a training: TensorBoard, trackio, Weights & Biases, MLflow (`finetune.report_to`), by accelerate.

TensorBoard's event files lie beside loss.csv. The others write, or send, where their own settings say.
"""

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lander.shared.errors import UserError

PROJECT = "lander"
# Its tracker, given accelerate's module, the name of the run and its folder, and the number of the first update
TRACKERS: dict[str, Callable[[Any, str, int], Any]] = {
    "tensorboard": lambda found, run, first: found.TensorBoardTracker("", run, purge_step=first),
    "trackio": lambda found, run, first: found.TrackioTracker(PROJECT, name=run, resume="allow"),
    "wandb": lambda found, run, first: found.WandBTracker(PROJECT, name=run, id=run.replace("/", "-"), resume="allow"),
    "mlflow": lambda found, run, first: found.MLflowTracker(PROJECT, run_name=run),
}


class Curves:
    """The trackers of a training, as a context that ends them. What fails in one of them does not end the training."""

    def __init__(self, names: Sequence[str] = (), folder: Path = Path()):
        """`folder` of the model, whose path is the name of the run."""
        self.names, self.run, self.trackers = names, folder.as_posix(), {}

    def start(self, first: int) -> "Curves":
        """Start the trackers of a training whose next update is the `first`, from 1. UserError if one cannot."""
        for name in self.names:
            from accelerate import tracking

            try:
                self.trackers[name] = TRACKERS[name](tracking, self.run, first)
                self.trackers[name].start()
            except Exception as error:
                why = str(error).partition("\n")[0]
                raise UserError(f"finetune.report_to: {name}: {why}; set it up, or leave it out") from None
        return self

    def log(self, update: int, loss: float, rows: Sequence[dict]) -> None:
        """The loss of an update (from 1) and of each of its directions, in nats per token, and its learning rate."""
        values = {"loss/all": loss, "learning_rate": rows[0]["learning_rate"]}
        values |= {f"loss/{row['direction']}": row["loss"] for row in rows}
        for name, tracker in list(self.trackers.items()):
            try:
                tracker.log(values, step=update)
            except Exception as error:
                print(f"warning: {name} has no curves from update {update} on: {error}", file=sys.stderr)
                del self.trackers[name]

    def __enter__(self) -> "Curves":
        return self

    def __exit__(self, *_error: object) -> None:
        for tracker in self.trackers.values():
            with contextlib.suppress(Exception):
                tracker.finish()
