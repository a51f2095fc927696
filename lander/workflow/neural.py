"""Neural metrics of a run: the executable of each, and the flags of its job.

A metric without a command in the config is COMET. The rule `comet_environment` installs it once for all runs.
"""

import json
from typing import Any

from lander.config.config import Config
from lander.config.evaluate import Neural

COMET = "results/.environments/comet/bin/comet-score"


class NeuralMetrics:
    """What the rules ask about `evaluate.neural`."""

    def __init__(self, settings: Config, gpu: int) -> None:
        self._metrics = {metric.name: metric for metric in settings.evaluate.neural}
        self._gpu = gpu
        self.names = list(self._metrics)  # as in the tables

    def executable(self, wildcards: Any) -> list[str]:
        """What must be there before the metric can run: COMET, where the config names nothing else."""
        return [] if self._metrics[wildcards.metric].command else [COMET]

    def flags(self, wildcards: Any) -> list[str]:
        """How `lander.evaluate neural` runs the metric."""
        metric: Neural = self._metrics[wildcards.metric]
        command = list(metric.command or [COMET])
        flags = ["--model", metric.model, "--command", json.dumps(command), "--gpus", str(self._gpu)]
        flags += ["--signature", metric.signature] if metric.signature else []
        better = {True: ["--better", "less"], False: ["--better", "more"]}
        return flags + better.get(metric.less_is_better, [])
