"""What a schema cannot say about a config: how its keys go together, and what must exist."""

import difflib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from lander.config.base import HUB_NAME, find_base
from lander.config.methods import MASKED, METHODS, TRAINED
from lander.data.sources import Source
from lander.data.templates import load_templates
from lander.shared.errors import UserError
from lander.shared.languages import Direction

if TYPE_CHECKING:
    from lander.config.config import Config

TOY_BYTES = 100_000_000  # of weights: 25 million parameters in float32
FAR_ABOVE = 5  # times a method's usual learning rate
SLURM_LOGS = "slurm-logs"  # of results/, by workflow/profiles/slurm


def check(config: "Config") -> None:
    """All checks that need the whole config, cheapest first.

    Raises:
        UserError: the first one that fails.
    """
    _run(config.run)
    _methods(config)
    _distinct(config.seeds, "seeds")
    _scored_languages(config)
    _translation_scores(config)
    _training(config)
    _built_in_corpus(config)
    _sources_serve(config)
    _overlap(config)
    _files(config)
    _neural(config)
    _base(config)
    _pretrain(config)


def directions(parsed: list[Direction], languages: list[str]) -> tuple[Direction, ...]:
    """Directions between languages of the config, none twice."""
    for direction in parsed:
        for code in (direction.source, direction.target):
            if code not in languages:
                known = ", ".join(languages)
                raise UserError(f"directions: {direction}: {code} is not in `languages` ({known}); add it there")
    _distinct(tuple(map(str, parsed)), "directions")
    return tuple(parsed)


def _distinct(values: tuple, key: str) -> None:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise UserError(f"{key}: {value} is there twice; remove one")


def _run(name: str) -> None:
    """Nothing else has the name of the run's folder."""
    folder = Path("results", name)
    if name == SLURM_LOGS:
        raise UserError(f"run: {name}: {folder} is where the profile slurm puts SLURM's logs; choose another name")
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise UserError(f"run: {name}: {folder} is a file, and a run is a folder; choose another name")


def _methods(config: "Config") -> None:
    for key, methods, known in (
        ("methods", config.methods, METHODS),
        ("experiments.transfer", config.experiments.transfer, TRAINED),
    ):
        _distinct(methods, key)
        for method in methods:
            if method not in known:
                near = difflib.get_close_matches(method, known, 1)
                remedy = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
                raise UserError(f"{key}: {method}: no such method; {remedy}")


def _scored_languages(config: "Config") -> None:
    _distinct(config.awareness.languages, "awareness.languages")
    if config.awareness.estimator == "ablation" and config.awareness.neurons:
        raise UserError(
            f"awareness.neurons: {config.awareness.neurons} of each layer are scored, and masks need all scores; "
            "set it to null, or put ablation into experiments.estimators and run `agreement`"
        )
    missing = [code for code in config.languages if code not in config.awareness.languages]
    if missing:
        raise UserError(f"awareness.languages: {', '.join(missing)} of `languages` missing; all of them are scored")


def _translation_scores(config: "Config") -> None:
    """Scores from translation need a direction with the language."""
    translated = {code for direction in config.directions for code in (direction.source, direction.target)}
    missing = [code for code in config.awareness.languages if code not in translated]
    if config.awareness.text == "translation" and missing:
        raise UserError(
            f"awareness.text: translation scores a language in its directions, and {', '.join(missing)} has none; "
            "remove it from awareness.languages, or use awareness.text: monolingual"
        )


def _training(config: "Config") -> None:
    finetune = config.finetune
    if finetune.accumulate % finetune.ranks:
        raise UserError(
            f"finetune.accumulate: {finetune.accumulate} micro-batches cannot be shared by finetune.ranks: "
            f"{finetune.ranks}; make it a multiple"
        )


def _built_in_corpus(config: "Config") -> None:
    """The built-in corpus has a fixed set of languages."""
    for key, sources in _lists(config).items():
        if any(source.kind == "builtin" for source in sources):
            from lander.data import cldr

            wanted = config.awareness.languages if key == "awareness.data" else config.languages
            missing = [code for code in wanted if code not in cldr.LANGUAGES]
            if missing:
                raise UserError(
                    f"{key}: the built-in corpus cldr has no {', '.join(missing)} (it has "
                    f"{', '.join(cldr.LANGUAGES)}); name a source of your own"
                )


def _lists(config: "Config") -> dict[str, tuple[Source, ...]]:
    """Every list of sources that the run reads."""
    lists = {f"data.{key}": getattr(config.data, key) for key in ("train", "dev", "test")}
    if "landermt" in config.methods and not config.neurons.masks:
        lists["awareness.data"] = config.awareness.data
    if config.model.path == "pretrain":
        lists["pretrain.text"] = config.pretrain.text
        lists["pretrain.parallel"] = config.pretrain.parallel
    return lists


def _sources_serve(config: "Config") -> None:
    """Every direction has training, dev and test text, where the methods need it."""
    needed = {"data.test": config.data.test}
    if any(method in TRAINED for method in config.methods):
        needed["data.train"] = config.data.train
    if "zero-shot" in config.methods:
        needed["data.dev"] = config.data.dev
    for key, sources in needed.items():
        for direction in config.directions:
            if not any(source.serves(direction) for source in sources):
                raise UserError(
                    f"{key}: no source has text for {direction}; add one with both languages, or remove the direction"
                )
    for direction in config.directions:
        names = [source.name for source in config.data.test if source.serves(direction)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise UserError(f"data.test: two sources named {twice} have text for {direction}; give each its own name")
    if "awareness.data" in (lists := _lists(config)):
        for code in config.awareness.languages:
            if not any(source.languages is None or code in source.languages for source in lists["awareness.data"]):
                raise UserError(f"awareness.data: no source has text in {code}; add one, or remove the language")


def _overlap(config: "Config") -> None:
    """The same lines of the same files are not both trained on and tested on."""
    for train in config.data.train:
        for key in ("dev", "test"):
            for held in getattr(config.data, key):
                if lines := train.shared(held):
                    raise UserError(
                        f"data.{key}: {lines} are both in data.train ({train.name}) and held out ({held.name}); give "
                        "them ranges that do not meet"
                    )


def _files(config: "Config") -> None:
    """Files and folders that keys name."""
    templates = [template.name for template in load_templates(config.data.templates)]
    if config.translate.template not in templates:
        near = difflib.get_close_matches(config.translate.template, templates, 1)
        remedy = f"did you mean {near[0]}?" if near else f"there are: {', '.join(templates)}"
        raise UserError(f"translate.template: {config.translate.template}: no such template; {remedy}")
    if config.neurons.masks:
        folder = Path(config.neurons.masks)
        if not os.path.isdir(folder):
            raise UserError(f"neurons.masks: {folder}: no such folder")
        missing = [str(name) for name in config.directions if not (folder / f"{name}.parquet").is_file()]
        if len(missing) == len(config.directions):
            raise UserError(f"neurons.masks: {folder}: has no <direction>.parquet for any of `directions`")


def _neural(config: "Config") -> None:
    """Names of neural metrics are their own; what they run and load is on this machine, or on the hub."""
    _distinct(tuple(metric.name for metric in config.evaluate.neural), "evaluate.neural")
    for metric in config.evaluate.neural:
        place = f"evaluate.neural: {metric.name}"
        if metric.name == "flags" or metric.name.startswith(("bleu", "chrf", "spbleu")):
            raise UserError(f"{place}: the name is another metric's or file's; choose another, as comet")
        if metric.remote and (metric.model.endswith(".ckpt") or not HUB_NAME.fullmatch(metric.model)):
            raise UserError(f"{place}: {metric.model}: no such checkpoint, and not a model on the hub (owner/name)")
        if metric.command and shutil.which(metric.command[0]) is None:
            raise UserError(f"{place}: {metric.command[0]}: no such executable; leave command out to install COMET")


def _base(config: "Config") -> None:
    base = find_base(config.model.path, config.pretrain.n_layer)
    if base.n_layer is None:
        return
    if config.layers.k > base.n_layer and any(method in MASKED for method in config.methods):
        raise UserError(
            f"layers.k: {config.layers.k} is more than the {base.n_layer} layers of {config.model.path}; "
            f"use 0 to {base.n_layer}"
        )
    if any(k > base.n_layer for k in config.experiments.sweep_k or ()):
        raise UserError(
            f"experiments.sweep_k: {max(config.experiments.sweep_k)} is more than the {base.n_layer} layers of "
            f"{config.model.path}; use 0 to {base.n_layer}"
        )


def _pretrain(config: "Config") -> None:
    if config.pretrain.d_model % config.pretrain.n_head:
        raise UserError(
            f"pretrain.n_head: d_model {config.pretrain.d_model} is not divisible by {config.pretrain.n_head} heads"
        )


# ---------------------------------------------------------------- what is allowed and looks wrong


def warnings(config: "Config") -> list[str]:
    """One line for each thing that is allowed and looks like a mistake."""
    return [*_contrast(config), *_masks_missing(config), *_rates(config), *_tests_not_excluded(config)]


def _contrast(config: "Config") -> list[str]:
    scored = set(config.awareness.languages)
    everywhere = all(scored <= {direction.source, direction.target} for direction in config.directions)
    if not everywhere or config.neurons.masks or not any(method in MASKED for method in config.methods):
        return []
    example = ", ".join([*config.awareness.languages, *(code for code in ("fr", "zh") if code not in scored)])
    return [
        "awareness.languages: every scored language takes part in every direction, so no neuron is excluded from any; "
        f"add contrast languages, for example [{example}]"
    ]


def _masks_missing(config: "Config") -> list[str]:
    folder = config.neurons.masks
    missing = [str(name) for name in config.directions if folder and not Path(folder, f"{name}.parquet").is_file()]
    told = f"neurons.masks: {folder}: no mask of {', '.join(missing)}; they run the base's graph, untrained"
    return [told] if missing else []


def _rates(config: "Config") -> list[str]:
    """Learning rates far above the usual for a real model; a toy takes more."""
    size = find_base(config.model.path, config.pretrain.n_layer).weight_bytes
    if config.model.path == "pretrain" or (size is not None and size < TOY_BYTES):
        return []
    high = {
        name: own.learning_rate
        for name, own in config.finetune.methods.items()
        if name in config.methods and own.learning_rate > FAR_ABOVE * METHODS[name].rate
    }
    told = ", ".join(f"{name} {rate:g} (usual: {METHODS[name].rate:g})" for name, rate in high.items())
    return [f"finetune.learning_rate: far above the usual for a model of this size: {told}"] if high else []


def _tests_not_excluded(config: "Config") -> list[str]:
    """Test sets whose sentences may be in the training text."""
    if not any(method in TRAINED for method in config.methods):
        return []
    loose = [test.name for test in config.data.test if not any(_covers(one, test) for one in config.data.exclude)]
    return [
        f"data.exclude: the test set {name} is not in it, so training may have its sentences; name its source there too"
        for name in dict.fromkeys(loose)
    ]


def _covers(excluded: Source, test: Source) -> bool:
    """Whether all text of a test source is in an excluded one."""
    (start, stop), (first, last) = excluded.range, test.range
    inside = start <= first and (stop is None or (last is not None and last <= stop))
    return inside and test.origins <= excluded.origins
