"""Which models each experiment compares, and the files that its job reads.

An experiment is a target: `snakemake table1` trains what is missing and writes results/<run>/experiments/table1.csv,
.md and, if there is something to see, .svg.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from lander.config import variants
from lander.config.awareness import RULES
from lander.config.config import READINGS, Config, trained
from lander.config.methods import SECOND_MODEL, TABLE1, TABLE2, TRAINED, TRAINING_FREE
from lander.config.variants import MAIN, Variant, Variants
from lander.evaluate.bleu import missing_tokenizer
from lander.experiments import MEASURED
from lander.experiments.rates import rate_name
from lander.shared.runs import Model
from lander.workflow.models import as_flags, refuse
from lander.workflow.paths import Paths

# With given masks they would train the same again.
DETECTING = ("readings", "sweep_k", "sweep_epsilon", "sweep_trained", "estimators")
PICKS = variants.VALUES["neurons.pick"]
CONTROLS = ("random", "random-layers")
ABOUT = {  # as `snakemake --list-rules` says it
    "table1": "All methods and controls, beside the paper's table 1.",
    "table2": "The ablations, beside the paper's table 2.",
    "transfer": "One direction is trained, all are tested (figure 3).",
    "forgetting": "Gain on the trained directions against damage to others and to plain text, and cost.",
    "readings": "Every point on which the paper can be read in two ways, one switch at a time.",
    "sweep_k": "How many layers are trained (figure 10).",
    "sweep_epsilon": "How many neurons are general (figure 11).",
    "sweep_trained": "How few neurons are enough, and whether it matters which.",
    "estimators": "What other ways to score neurons are worth in training.",
    "second_model": "The method against its strongest rival on another base (figure 9).",
}
BEST_PROMPT = "best-prompt"


class Experiments:
    """The models of each experiment of a run, and the files and flags of its job.

    `items` are the <test>/<direction> of the run, `untrained` those of directions that no model is trained on.
    """

    def __init__(self, settings: Config, table: Variants, paths: Paths, items: list[str], untrained: list[str]) -> None:
        self.settings, self.table, self.paths = settings, table, paths
        self.items, self.untrained = items, untrained
        self.models = cache(self._models)
        draws = range(2, settings.experiments.draws + 1)
        self.draws = [variants.draw(number).name for number in draws]  # variants: further draws of the controls
        # Estimators that score a sample of the neurons: without groups, masks or a training.
        self._sampled = ("ablation",) if settings.awareness.neurons else ()

    def _models(self, name: str) -> tuple[Model, ...]:
        """The models of an experiment, each once."""
        settings, own, seed = self.settings, self.settings.experiments, self.settings.seeds[0]
        runs, draws = self.of_method, self._draws
        tables = {"table1": TABLE1, "table2": TABLE2, "second_model": SECOND_MODEL}
        if name in tables:
            found = draws(*tables[name])
        elif name == "transfer":
            rows = [variants.only(settings, direction) for direction in settings.directions]
            found = runs("zero-shot") + [Model(method, row.name, seed) for method in own.transfer for row in rows]
        elif name == "forgetting":
            found = [model for model in draws(*TABLE1, *TABLE2) if model.method != "in-context"]
            found += [Model("full", variants.mix(share).name, seed) for share in own.mixes]
        elif name == "readings":
            other = next(reading for reading in READINGS if reading != settings.readings)
            found, parts = runs("landermt", MAIN, self.table.row(other)), ("landermt-lg", "landermt-ls")
            for row in variants.switches(settings):
                for method in parts if "ablation" in row.changes else ("landermt",):
                    found += runs(method, row)
            found += [model for method in parts for model in runs(method)]
        elif name == "sweep_k":
            depths = self.table.depths if own.sweep_k is None else own.sweep_k
            found = runs("landermt", *(MAIN if k == settings.layers.k else variants.depth(k) for k in depths))
        elif name == "sweep_epsilon":
            now, shares = settings.neurons.general_share, own.sweep_epsilon
            found = runs("landermt", *(MAIN if share == now else variants.general(share) for share in shares))
        elif name == "sweep_trained":
            picks = {pick: [variants.trained_share(pick, share) for share in own.sweep_trained] for pick in PICKS}
            controls = [row for pick in PICKS[1:] for row in picks[pick]]
            found = runs("zero-shot")[:1] + runs("landermt", *picks["most"], *controls)
            found += [model for method in ("random", "lora-matched") for model in runs(method, *picks["most"])]
        else:  # estimators
            rows = [self._estimator(name) for name in own.estimators if name not in self._sampled]
            found = runs("landermt", MAIN, *rows) + draws("random")
        return tuple(dict.fromkeys(found))

    def of_method(self, method: str, *rows: Variant) -> list[Model]:
        """Variants of a method at every seed. What trains nothing has the first seed only, zero-shot two prompts."""
        seeds = self.settings.seeds if method in TRAINED else self.settings.seeds[:1]
        names = (MAIN.name, BEST_PROMPT) if method == "zero-shot" else [row.name for row in rows or (MAIN,)]
        return [Model(method, name, seed) for name in names for seed in seeds]

    def _draws(self, *methods: str) -> list[Model]:
        """Methods at every seed, the controls in all their draws."""
        rows = [MAIN, *(self.table.row(name) for name in self.draws)]
        return [one for method in methods for one in self.of_method(method, *(rows if method in CONTROLS else ()))]

    # ------------------------------------------------------------ learning rates

    @property
    def starts(self) -> list[str]:
        """METHOD=RATE: where the search for the learning rate of each trained method of the run begins."""
        return [f"{name}={self.settings.finetune.method(name).learning_rate:g}" for name in trained(self.settings)]

    def trial_losses(self, planned: dict[str, Any]) -> dict[str, str]:
        """METHOD/RATE -> loss file, of all trials that a round knows of."""
        seed, losses = self.settings.seeds[0], {}
        for method, rates in planned["rates"].items():
            models = {rate: Model(method, rate_name(rate), seed) for rate in rates}
            losses |= {f"{method}/{rate}": f"{self.paths.of('loss', model)}.csv" for rate, model in models.items()}
        return losses

    @staticmethod
    def trial_values(planned: dict[str, Any]) -> list[str]:
        """VARIANT=RATE, of all trials that a round knows of."""
        rates = sorted({rate for found in planned["rates"].values() for rate in found})
        return [f"{rate_name(rate)}={rate:g}" for rate in rates]

    # ------------------------------------------------------------ estimators of awareness

    def _estimator(self, name: str) -> Variant:
        now = self.settings.awareness.estimator
        return MAIN if name == now else variants.switch("awareness.estimator", name)

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
        tables = [f"{folder}/{language}.parquet" for folder in folders for language in languages]
        return [*tables, *scored["neurons"].values()]

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
        missing = (missing_tokenizer(direction.target) for direction in self.settings.experiments.untrained)
        if name == "forgetting" and (why := next(filter(None, missing), None)):
            return f"experiments.untrained: {why}"
        return None

    def refused(self, name: str) -> Callable[[Any], list[str]]:
        """An input function: no files, or the end of Snakemake with the reason why there is no such experiment."""
        why = self.refusal(name)
        return lambda _wildcards: refuse(why) if why else []

    def tested(self, name: str) -> list[str]:
        """<test>/<direction> on which the models of an experiment are compared."""
        return self.items + (self.untrained if name == "forgetting" else [])

    def folders(self, name: str) -> list[str]:
        """Folders of the scores of an experiment's models."""
        return [self.paths.of("evaluate", model) for model in self.models(name)]

    def scores(self, *names: str) -> list[str]:
        """Score files of experiments, each once."""
        every = (f"{one}/{item}.csv" for name in names for one in self.folders(name) for item in self.tested(name))
        return list(dict.fromkeys(every))

    def losses(self, name: str) -> list[str]:
        """Loss files of an experiment; models that differ in their prompt only have none."""
        models = [one for one in self.models(name) if one.variant != BEST_PROMPT and one.method != "in-context"]
        return [f"{self.paths.of('loss', model)}.csv" for model in models] if name in MEASURED else []

    def runs(self, name: str) -> dict[str, str]:
        """Model -> the record of its training."""
        models = [model for model in self.models(name) if model.method not in TRAINING_FREE]
        models = [model for model in models if self.table.row(model.variant).mix is None]
        return {str(model): f"{self.paths.of('finetune', model)}/run.json" for model in models}

    def flags(self, name: str) -> list[str]:
        """Flags of an experiment's job beside its files of scores."""
        names = dict.fromkeys(model.variant for model in self.models(name) if model.variant != BEST_PROMPT)
        rows, sources = [self.table.row(variant) for variant in names], self.settings.experiments.text
        text = f"experiments.text ({', '.join(source.name for source in sources)})"
        if sources == self.settings.data.dev:
            text = "the sides of data.dev, which no model was trained on; experiments.text is null"
        flags = {
            "loss": self.losses(name),
            "runs": [f"{model}={file}" for model, file in self.runs(name).items()],
            "values": [f"{row.name}={value}" for row in rows if (value := self._value(name, row)) is not None],
            "draws": [variant for variant in names if variant in self.draws],
            "text": [text] if name == "forgetting" else [],
        }
        return as_flags(flags)

    def _value(self, name: str, row: Variant) -> Any:
        """What a variant has of what an experiment varies; None if it is no part of that."""
        config = variants.configure(self.settings, row)
        if name == "readings":
            return config.readings if row == MAIN else row.name if row.name in READINGS else None
        varied = {
            "transfer": config.directions[0] if "directions" in row.changes else None,
            "forgetting": row.mix,
            "sweep_k": config.layers.k,
            "sweep_epsilon": config.neurons.general_share,
            "sweep_trained": config.neurons.trained_share if row.name != MAIN.name else None,
            "estimators": config.awareness.estimator if row.draw == 1 else None,
        }
        return varied.get(name)

    def forgets(self, wildcards: Any) -> bool:
        """Whether the experiment `forgetting` compares the model of a job."""
        return Model(wildcards.method, wildcards.variant, int(wildcards.seed)) in self.models("forgetting")
