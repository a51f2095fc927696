"""Which models each experiment compares, and the files that its job reads.

An experiment is a target: `snakemake table1` trains what is missing and writes results/<run>/experiments/table1.csv,
.md and, if there is something to see, .svg.
"""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from lander.config import variants
from lander.config.config import READINGS, Config
from lander.config.detect import RULES
from lander.config.methods import SECOND_MODEL, TABLE1, TABLE2, TRAINING_FREE
from lander.config.variants import MAIN, Variant, Variants
from lander.experiments import MEASURED
from lander.experiments.rates import rate_name
from lander.shared.runs import Model
from lander.workflow.models import as_flags, refuse
from lander.workflow.paths import Paths

DETECTING = ("readings", "sweep_k", "sweep_epsilon", "estimators")  # with given masks they would train the same again
CONTROLS = ("random", "random-layers")
ABOUT = {  # as `snakemake --list-rules` says it
    "table1": "All methods and controls, beside the paper's table 1.",
    "table2": "The ablations, beside the paper's table 2.",
    "transfer": "One direction is trained, all are tested (figure 3).",
    "forgetting": "Gain on the trained directions against damage to others and to plain text, and cost.",
    "readings": "Every point on which the paper can be read in two ways, one switch at a time.",
    "sweep_k": "How many layers are trained (figure 10).",
    "sweep_epsilon": "How many neurons are general (figure 11).",
    "estimators": "What other ways to score neurons are worth in training.",
    "second_model": "The method against its strongest rival on another base (figure 9).",
}
BEST_PROMPT = "best-prompt"


class Experiments:
    """The models of each experiment of a run, and the files and flags of its job.

    Args:
        items: <test>/<direction> that the run's models are tested on.
        untrained: the same of directions that no model is trained on.
    """

    def __init__(self, settings: Config, table: Variants, paths: Paths, items: list[str], untrained: list[str]) -> None:
        self.settings, self.table, self.paths = settings, table, paths
        self.items, self.untrained = items, untrained
        self.models = cache(self._models)

    # ------------------------------------------------------------ models

    def _models(self, name: str) -> tuple[Model, ...]:
        """The models of an experiment, each once."""
        settings, own = self.settings, self.settings.experiments
        compared: dict[str, Callable[[], list[Model]]] = {
            "table1": lambda: self._draws(*TABLE1),
            "table2": lambda: self._draws(*TABLE2),
            "transfer": self._transfer,
            "forgetting": self._forgetting,
            "readings": self._readings,
            "sweep_k": lambda: self._sweep(
                variants.depth, self.table.depths if own.sweep_k is None else own.sweep_k, settings.layers.k
            ),
            "sweep_epsilon": lambda: self._sweep(variants.general, own.sweep_epsilon, settings.neurons.general_share),
            "estimators": self._estimators,
            "second_model": lambda: self._draws(*SECOND_MODEL),
        }
        return tuple(dict.fromkeys(compared[name]()))

    def of_methods(self, methods: Iterable[str]) -> list[Model]:
        """The models of a run's list of methods: no further draws of the controls."""
        return [model for method in methods for model in self._runs(method)]

    def _runs(self, method: str, variant: Variant = MAIN) -> list[Model]:
        """A method at every seed. What trains nothing has the first seed only, and zero-shot has two prompts."""
        seeds = self.settings.seeds[:1] if method in TRAINING_FREE else self.settings.seeds
        names = (MAIN.name, BEST_PROMPT) if method == "zero-shot" else (variant.name,)
        return [Model(method, name, seed) for name in names for seed in seeds]

    def _draws(self, *methods: str) -> list[Model]:
        """Methods at every seed, the controls in all their draws."""
        last = self.settings.experiments.draws
        return [
            model
            for method in methods
            for number in range(1, (last if method in CONTROLS else 1) + 1)
            for model in self._runs(method, variants.draw(number))
        ]

    def _transfer(self) -> list[Model]:
        rows = [variants.only(self.settings, direction) for direction in self.settings.directions]
        seed, methods = self.settings.seeds[0], self.settings.experiments.transfer
        return [*self._runs("zero-shot"), *(Model(method, row.name, seed) for method in methods for row in rows)]

    def _forgetting(self) -> list[Model]:
        rows = map(variants.mix, self.settings.experiments.mixes)
        mixes = [Model("full", row.name, self.settings.seeds[0]) for row in rows]
        return [model for model in self._draws(*TABLE1, *TABLE2) if model.method != "in-context"] + mixes

    def _readings(self) -> list[Model]:
        other = next(name for name in READINGS if name != self.settings.readings)
        found = self._runs("landermt") + self._runs("landermt", self.table.row(other))
        parts = ("landermt-lg", "landermt-ls")
        for row in variants.switches(self.settings):
            methods = parts if "ablation" in row.changes else ("landermt",)
            found += [model for method in methods for model in self._runs(method, row)]
        return found + [model for method in parts for model in self._runs(method)]

    def _sweep(self, row: Callable[[Any], Variant], values: Iterable[Any], now: Any) -> list[Model]:
        rows = [MAIN if value == now else row(value) for value in values]
        return [model for one in rows for model in self._runs("landermt", one)]

    def _estimators(self) -> list[Model]:
        names = [name for name in self.settings.experiments.estimators if name not in self._sampled]
        rows = dict.fromkeys(["main", *(self._estimator(name).name for name in names)])
        return [model for row in rows for model in self._runs("landermt", self.table.row(row))] + self._draws("random")

    # ------------------------------------------------------------ learning rates

    @property
    def starts(self) -> list[str]:
        """METHOD=RATE: where the search for the learning rate of each trained method of the run begins."""
        methods = [method for method in self.settings.methods if method not in TRAINING_FREE]
        return [f"{method}={self.settings.finetune.method(method).learning_rate:g}" for method in methods]

    def trial_losses(self, planned: dict[str, Any]) -> dict[str, str]:
        """METHOD/RATE -> loss file, of all trials that a round knows of."""
        seed, rates = self.settings.seeds[0], planned["rates"]
        trials = [(method, rate) for method, found in rates.items() for rate in found]
        return {f"{method}/{rate}": self.paths.loss(Model(method, rate_name(rate), seed)) for method, rate in trials}

    @staticmethod
    def trial_values(planned: dict[str, Any]) -> list[str]:
        """VARIANT=RATE, of all trials that a round knows of."""
        rates = sorted({rate for found in planned["rates"].values() for rate in found})
        return [f"{rate_name(rate)}={rate:g}" for rate in rates]

    # ------------------------------------------------------------ estimators of awareness

    def _estimator(self, name: str) -> Variant:
        now = self.settings.awareness.estimator
        return MAIN if name == now else variants.switch("awareness.estimator", name)

    @property
    def _sampled(self) -> tuple[str, ...]:
        """Estimators that score a sample of the neurons: without groups, masks or a training."""
        return ("ablation",) if self.settings.awareness.neurons else ()

    def _scored(self) -> dict[str, dict[str, str]]:
        """Flag of the analysis `agreement` -> estimator -> folder of its tables, or table of its neurons."""
        seed = self.settings.seeds[0]
        found: dict[str, dict[str, str]] = {"tables": {}, "parts": {}, "neurons": {}}
        for name in self.settings.experiments.estimators:
            row = self._estimator(name)
            reading = "" if row == MAIN else f"{name}/"
            found["tables"][name] = self.paths.awareness(reading, seed)
            if name in self._sampled:
                continue
            if name != "random":
                found["parts"][name] = self.paths.awareness(reading, seed, parts=True)
            selection = self.table.selection("neurons", "landermt", row.name)
            found["neurons"][name] = self.paths.selected("neurons", selection, seed)
        return found

    def estimator_tables(self, _wildcards: Any) -> list[str]:
        """Scores, parts of scores and neurons of every estimator."""
        scored, languages = self._scored(), self.settings.awareness.languages
        folders = [*scored["tables"].values(), *scored["parts"].values()]
        return [f"{folder}/{language}.parquet" for folder in folders for language in languages] + [
            *scored["neurons"].values()
        ]

    @property
    def estimator_flags(self) -> list[str]:
        """NAME=FOLDER or FILE of every estimator, as the analysis of their agreement takes them."""
        rules = {name: RULES[name] for name in self.settings.experiments.estimators if RULES[name] != "variance"}
        flags = self._scored() | ({"rules": rules} if rules else {})
        return as_flags({flag: [f"{name}={value}" for name, value in found.items()] for flag, found in flags.items()})

    # ------------------------------------------------------------ files

    def refusal(self, name: str) -> str | None:
        """Why this config cannot have an experiment; None if it can."""
        if self.settings.neurons.masks and name in DETECTING:
            return f"neurons.masks: {name} varies how neurons are found, and these masks are given; remove it"
        if name == "forgetting" and not self.settings.experiments.untrained:
            return (
                "experiments.untrained: forgetting compares directions that are not trained, and data.test has no "
                "text of any; add a source that has (the same sentences in several languages, as NTREX-128 or FLORES)"
            )
        return None

    def refused(self, name: str) -> Callable[[Any], list[str]]:
        """An input function: no files, or the end of Snakemake with the reason why there is no such experiment."""
        why = self.refusal(name)
        return lambda _wildcards: refuse(why) if why else []

    def scores(self, name: str) -> list[str]:
        """Score files of an experiment."""
        items = self.items + (self.untrained if name == "forgetting" else [])
        return [f"{folder}/{item}.csv" for folder in self.folders(name) for item in items]

    def folders(self, name: str) -> list[str]:
        """Folders of the scores of an experiment's models."""
        return [self.paths.scored(model) for model in self.models(name)]

    def scores_of(self, names: list[str]) -> list[str]:
        """Score files of several experiments, each once."""
        return list(dict.fromkeys(file for name in names for file in self.scores(name)))

    def losses(self, name: str) -> list[str]:
        """Loss files of an experiment; models that differ in their prompt only have none."""
        models = [one for one in self.models(name) if one.variant != BEST_PROMPT and one.method != "in-context"]
        return [self.paths.loss(model) for model in models] if name in MEASURED else []

    def runs(self, name: str) -> dict[str, str]:
        """Model -> the record of its training."""
        models = [model for model in self.models(name) if model.method not in TRAINING_FREE]
        trained = [model for model in models if self.table.row(model.variant).mix is None]
        return {str(model): f"{self.paths.trained(model)}/run.json" for model in trained}

    def flags(self, name: str) -> list[str]:
        """Flags of an experiment's job beside its files of scores."""
        names = dict.fromkeys(model.variant for model in self.models(name) if model.variant != BEST_PROMPT)
        rows = [self.table.row(variant) for variant in names]
        flags = {
            "loss": self.losses(name),
            "runs": [f"{model}={file}" for model, file in self.runs(name).items()],
            "values": [f"{row.name}={value}" for row in rows if (value := self._value(name, row)) is not None],
            "draws": [variant for variant in names if variant in self.draws],
            "text": [self._text] if name == "forgetting" else [],
        }
        return as_flags({flag: found for flag, found in flags.items() if found})

    @property
    def draws(self) -> list[str]:
        """The variants that are further draws of the controls."""
        return [variants.draw(number).name for number in range(2, self.settings.experiments.draws + 1)]

    def _value(self, name: str, row: Variant) -> Any:
        """What a variant has of what an experiment varies; None if it is no part of that."""
        config = variants.configure(self.settings, row)
        if name == "readings":
            return config.readings if row == MAIN else row.name if row.name in READINGS else None
        if name == "transfer":
            return config.directions[0] if "directions" in row.changes else None
        if name == "forgetting":
            return row.mix
        varied = {
            "sweep_k": config.layers.k,
            "sweep_epsilon": config.neurons.general_share,
            "estimators": config.awareness.estimator if row.draw == 1 else None,
        }
        return varied.get(name)

    @property
    def _text(self) -> str:
        """What forgetting is measured on beside translations."""
        sources = self.settings.experiments.text
        if sources == self.settings.data.dev:
            return "the sides of data.dev, which no model was trained on; experiments.text is null"
        return f"experiments.text ({', '.join(source.name for source in sources)})"

    def forgets(self, wildcards: Any) -> bool:
        """Whether the experiment `forgetting` compares the model of a job."""
        return Model(wildcards.method, wildcards.variant, int(wildcards.seed)) in self.models("forgetting")
