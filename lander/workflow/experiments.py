"""Which models each experiment compares, and the files that its job reads.

An experiment is a target: `snakemake table1` trains what is missing and writes results/<run>/experiments/table1.csv,
.md and, where there is something to see, .svg.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lander.config import variants
from lander.config.config import Config
from lander.config.methods import SECOND_MODEL, TABLE1, TABLE2, TRAINING_FREE
from lander.config.readings import READINGS
from lander.config.rules import RULES
from lander.config.variants import MAIN
from lander.experiments.rates import rate_name
from lander.shared.errors import UserError
from lander.shared.languages import parse_direction
from lander.shared.runs import Model

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
    """The models of each experiment of a run.

    Attributes:
        compared: name -> its models. All of them are decoded and scored.
        measured: experiments whose job reads losses too.
    """

    measured = ("forgetting", "readings", "sweep_k", "sweep_epsilon", "estimators")

    def __init__(self, settings: Config, n_layer: int | None) -> None:
        self.settings = settings
        self.n_layer = n_layer
        self.compared: dict[str, Callable[[], list[Model]]] = {
            "table1": lambda: self._main(TABLE1),
            "table2": lambda: self._main(TABLE2),
            "transfer": self._transfer,
            "forgetting": self._forgetting,
            "readings": self._readings,
            "sweep_k": lambda: self._values("k", self._depths()),
            "sweep_epsilon": lambda: self._values("general", settings.experiments.sweep_epsilon),
            "estimators": self._estimators,
            "second_model": lambda: self._main(SECOND_MODEL),
        }

    def models(self, name: str) -> list[Model]:
        """The models of an experiment, each once."""
        return list(dict.fromkeys(self.compared[name]()))

    def of_methods(self, methods: tuple[str, ...]) -> list[Model]:
        """The models of a run's list of methods: no further draws of the controls."""
        return [model for method in methods for model in self._runs(method, MAIN)]

    def _runs(self, method: str, variant: str) -> list[Model]:
        """A method at every seed; what trains nothing uses the first, and zero-shot has two prompts."""
        seeds = self.settings.seeds[:1] if method in TRAINING_FREE else self.settings.seeds
        names = (MAIN, BEST_PROMPT) if method == "zero-shot" else (variant,)
        return [Model(method, name, seed) for name in names for seed in seeds]

    def _draws(self, method: str) -> list[Model]:
        numbers = range(2, self.settings.experiments.draws + 1) if method in CONTROLS else ()
        names = (MAIN, *(f"draw{number}" for number in numbers))
        return [model for name in names for model in self._runs(method, name)]

    def _main(self, methods: tuple[str, ...]) -> list[Model]:
        return [model for method in methods for model in self._draws(method)]

    def _transfer(self) -> list[Model]:
        seed = self.settings.seeds[0]
        names = [f"only-{direction}" for direction in self.settings.directions]
        methods = self.settings.experiments.transfer
        return [*self._runs("zero-shot", MAIN), *(Model(method, name, seed) for method in methods for name in names)]

    def _forgetting(self) -> list[Model]:
        mixes = [Model("full", f"mix{share:g}", self.settings.seeds[0]) for share in self.settings.experiments.mixes]
        return [model for model in self._main((*TABLE1, *TABLE2)) if model.method != "in-context"] + mixes

    def _readings(self) -> list[Model]:
        names = variants.switches(self.settings)
        other = next(name for name in READINGS if name != self.settings.readings)
        found = self._runs("landermt", MAIN) + self._runs("landermt", other)
        for name in names:
            methods = ("landermt-lg", "landermt-ls") if name.startswith("ablation.") else ("landermt",)
            found += [model for method in methods for model in self._runs(method, name)]
        return found + [model for method in ("landermt-lg", "landermt-ls") for model in self._runs(method, MAIN)]

    def _depths(self) -> tuple[int, ...]:
        """Values of k; for a model of unknown depth those around the config's."""
        given = self.settings.experiments.sweep_k
        return given if given is not None else tuple(range((self.n_layer or self.settings.layers.k + 4) + 1))

    def _values(self, prefix: str, values: tuple[float, ...]) -> list[Model]:
        now = {"k": self.settings.layers.k, "general": self.settings.neurons.general_share}[prefix]
        names = [MAIN if value == now else f"{prefix}{value:g}" for value in values]
        return [model for name in names for model in self._runs("landermt", name)]

    def _estimators(self) -> list[Model]:
        now = self.settings.awareness.estimator
        given = [name for name in self.settings.experiments.estimators if name != now and name not in self._sampled]
        names = [MAIN, *(f"awareness.estimator-{name}" for name in given)]
        return [model for name in names for model in self._runs("landermt", name)] + self._draws("random")

    # ------------------------------------------------------------ learning rates

    @property
    def starts(self) -> list[str]:
        """METHOD=RATE: where the search for the learning rate of each trained method of the run begins."""
        methods = [method for method in self.settings.methods if method not in TRAINING_FREE]
        return [f"{method}={self.settings.finetune.method(method).learning_rate:g}" for method in methods]

    def trial_losses(self, planned: dict[str, Any]) -> list[str]:
        """Loss files of all trials that a round knows of."""
        return [f"<results>/loss/{model}.csv" for model in self._trials(planned)]

    def _trials(self, planned: dict[str, Any]) -> list[Model]:
        seed = self.settings.seeds[0]
        return [Model(method, rate_name(rate), seed) for method, rates in planned["rates"].items() for rate in rates]

    def trial_flags(self, wildcards: Any, input: Any) -> list[str]:
        """--loss METHOD/RATE=FILE ... of the trials before a round."""
        named = [(Path(file).parts[-3], Path(file).parts[-2].removeprefix("lr"), file) for file in input]
        return ["--loss", *(f"{method}/{rate}={file}" for method, rate, file in named)] if named else []

    # ------------------------------------------------------------ estimators of awareness

    @property
    def _sampled(self) -> tuple[str, ...]:
        """Estimators that score a sample of the neurons: without groups, masks or a training."""
        return ("ablation",) if self.settings.awareness.neurons else ()

    def estimator_tables(self, _wildcards: Any) -> list[str]:
        """Scores, parts of scores and neurons of every estimator."""
        flags = [flag.partition("=")[2] for flag in self.estimator_flags("<results>") if "=<results>/" in flag]
        folders = [folder for folder in flags if not folder.endswith(".parquet")]
        files = [folder for folder in flags if folder.endswith(".parquet")]
        languages = self.settings.awareness.languages
        return [f"{folder}/{language}.parquet" for folder in folders for language in languages] + files

    def estimator_flags(self, results: str) -> list[str]:
        """NAME=FOLDER or FILE of every estimator, as the analysis of their agreement takes them."""
        seed = f"s{self.settings.seeds[0]}"
        tables, parts, neurons = [], [], []
        for name in self.settings.experiments.estimators:
            variant = MAIN if name == self.settings.awareness.estimator else f"awareness.estimator-{name}"
            reading = "" if variant == MAIN else f"{name}/"
            tables.append(f"{name}={results}/awareness/{reading}{seed}")
            if name in self._sampled:
                continue
            if name != "random":
                parts.append(f"{name}={results}/awareness_parts/{reading}{seed}")
            folder = variants.selection(self.settings, "neurons", "landermt", variant)
            neurons.append(f"{name}={results}/neurons/{folder}/{seed}/neurons.parquet")
        rules = [f"{name}={RULES[name]}" for name in self.settings.experiments.estimators if name in RULES]
        flags = ["--tables", *tables, "--parts", *parts, "--neurons", *neurons]
        return [*flags, "--rules", *rules] if rules else flags

    # ------------------------------------------------------------ files

    @staticmethod
    def about(name: str) -> str:
        """An experiment in a line."""
        return ABOUT[name]

    def folders(self, name: str, results: str) -> list[str]:
        """Folders of the scores of an experiment's models."""
        return [f"{results}/evaluate/{model}" for model in self.models(name)]

    def refused(self, name: str) -> list[str] | Callable[[Any], list[str]]:
        """No files; for an experiment that this config cannot have, a function that says why when it is asked for."""
        why = None
        if self.settings.neurons.masks and name in DETECTING:
            why = f"neurons.masks: {name} varies how neurons are found, and these masks are given; remove it"
        if name == "forgetting" and not self.settings.experiments.untrained:
            why = (
                "experiments.untrained: forgetting compares directions that are not trained, and data.test has no "
                "text of any; add a source that has (the same sentences in several languages, as NTREX-128 or FLORES)"
            )

        def refuse(_wildcards: Any) -> list[str]:
            raise UserError(why)

        return refuse if why else []

    def scores(self, name: str, items: list[str], untrained: list[str]) -> list[str]:
        """Score files of an experiment.

        Args:
            items: <test>/<direction> of the run.
            untrained: the same of directions that no model is trained on.
        """
        found = [f"<results>/evaluate/{model}/{item}.csv" for model in self.models(name) for item in items]
        if name == "forgetting":
            found += [f"<results>/evaluate/{model}/{item}.csv" for model in self.models(name) for item in untrained]
        return found

    def prompt_dev(self, items: list[str]) -> list[str]:
        """Directions whose dev sets choose the base's prompts for others: their own, and where one has none, the run's.

        Args:
            items: <test>/<direction> that are decoded.
        """
        wanted = list(dict.fromkeys(parse_direction(item.rpartition("/")[2]) for item in items))
        served = [d for d in wanted if any(source.serves(d) for source in self.settings.data.dev)]
        more = () if len(served) == len(wanted) else self.settings.directions
        return [str(direction) for direction in (*served, *more)]

    def forgets(self, wildcards: Any) -> bool:
        """Whether the experiment `forgetting` compares the model of a job."""
        return Model(wildcards.method, wildcards.variant, int(wildcards.seed)) in self.models("forgetting")

    def scores_of(self, names: list[str], items: list[str]) -> list[str]:
        """Score files of several experiments, each once."""
        return list(dict.fromkeys(file for name in names for file in self.scores(name, items, [])))

    def losses(self, name: str) -> list[str]:
        """Loss files of an experiment."""
        models = [model for model in self.models(name) if has_loss(model)]
        return [f"<results>/loss/{model}.csv" for model in models] if name in self.measured else []

    def loss_flags(self, name: str, results: str) -> list[str]:
        """The flag with the loss files, where the experiment reads them."""
        files = [file.replace("<results>", results) for file in self.losses(name)]
        return ["--loss", *files] if files else []

    def runs(self, name: str) -> dict[str, str]:
        """Model -> the record of its training."""
        trained = [m for m in self.models(name) if m.method not in TRAINING_FREE and variants.mix(m.variant) is None]
        return {str(model): f"<results>/finetune/{model}/run.json" for model in trained}

    def flags(self, name: str, results: str) -> list[str]:
        """Flags of an experiment's job beside its files of scores and losses."""
        runs = [f"{model}={file.replace('<results>', results)}" for model, file in self.runs(name).items()]
        values = {
            "sweep_k": self.settings.layers.k,
            "sweep_epsilon": self.settings.neurons.general_share,
            "estimators": self.settings.awareness.estimator,
            "readings": self.settings.readings,
        }
        main = ["--main-value", str(values[name])] if name in values else []
        text = ["--text", self._text] if name == "forgetting" else []
        return [*(["--runs", *runs] if runs else []), *main, *text]

    @property
    def _text(self) -> str:
        """What forgetting is measured on beside translations."""
        sources = self.settings.experiments.text
        if sources == self.settings.data.dev:
            return "the sides of data.dev, which no model was trained on; experiments.text is null"
        return f"experiments.text ({', '.join(source.name for source in sources)})"


def has_loss(model: Model) -> bool:
    """Whether a model's loss is measured: not that of prompts only."""
    return model.variant != BEST_PROMPT and model.method != "in-context"
