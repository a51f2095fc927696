"""What a section cannot say about a config: how keys of several sections go together, and what must exist."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import combinations, product
from pathlib import Path
from typing import TYPE_CHECKING

from lander.config.base import HUB_NAME, PRETRAIN
from lander.config.methods import MASKED, METHODS, TRAINED
from lander.data.sources import Source
from lander.data.templates import load_templates
from lander.evaluate.bleu import missing_tokenizer
from lander.evaluate.metrics import METRICS
from lander.shared.errors import UserError, nearest
from lander.shared.languages import find_language, parse_language
from lander.shared.section import unusable

if TYPE_CHECKING:
    from lander.config.config import Config

TOY_BYTES = 100_000_000  # of weights: 25 million parameters in float32
FAR_ABOVE = 5  # times a method's usual learning rate


def check(config: "Config") -> None:
    """UserError for the first fault that shows only in the whole config; cheap checks come first."""
    for faults in (_keys, _sources, _places):
        for fault in faults(config):
            raise UserError(fault)


def _keys(config: "Config") -> Iterator[str]:
    """How keys go together."""
    known, awareness, finetune = ", ".join(config.languages), config.awareness, config.finetune
    for key, directions in (("directions", config.directions), ("experiments.untrained", config.experiments.untrained)):
        for direction in directions:
            for code in (direction.source, direction.target):
                if code not in config.languages:
                    yield f"{key}: {direction}: {code} is not in `languages` ({known}); add it there"
    for one, other in combinations(awareness.languages, 2):
        if parse_language(one) == parse_language(other):
            yield f"awareness.languages: {one} and {other} are the same language; keep one code for it everywhere"
    for direction in config.experiments.untrained:
        if direction in config.directions:
            yield f"experiments.untrained: {direction} is in `directions`, so it is trained; remove it"
        if not any(source.serves(direction) for source in config.data.test):
            yield f"experiments.untrained: no source of data.test has text for {direction}; remove it"
    for name in config.evaluate.baselines:
        if name.split("/")[0] not in (*config.methods, *config.external):
            yield f"evaluate.baselines: {name} is not in `methods`; add it there, or remove it here"
    for name in config.external:
        if name in METHODS:
            yield f"external: {name} is a method of Lander; give the system another name"
    metrics = Counter(metric.name for metric in config.evaluate.neural)
    for name, count in metrics.items():
        if count > 1:
            yield f"evaluate.neural: {name} is there twice; remove one"
        if name == "flags" or (name in METRICS and not METRICS[name].neural):
            yield f"evaluate.neural: {name}: the name is another metric's or file's; choose another, as comet"
    if awareness.estimator == "ablation" and awareness.neurons:
        yield (
            f"awareness.neurons: {awareness.neurons} of each layer are scored, and masks need all scores; set it to "
            "null, or put ablation into experiments.estimators and run `agreement`"
        )
    if missing := [code for code in config.languages if code not in awareness.languages]:
        yield f"awareness.languages: {', '.join(missing)} of `languages` missing; all of them are scored"
    translated = {code for direction in config.directions for code in (direction.source, direction.target)}
    missing = [code for code in awareness.languages if code not in translated]
    if awareness.text == "translation" and missing:
        yield (
            f"awareness.text: translation scores a language in its directions, and {', '.join(missing)} has none; "
            "remove it from awareness.languages, or use awareness.text: monolingual"
        )
    if finetune.accumulate % finetune.ranks:
        yield (
            f"finetune.accumulate: {finetune.accumulate} micro-batches cannot be shared by finetune.ranks: "
            f"{finetune.ranks}; make it a multiple"
        )
    if config.pretrain.d_model % config.pretrain.n_head:
        yield (
            f"pretrain.n_head: d_model {config.pretrain.d_model} is not divisible by {config.pretrain.n_head} heads; "
            "change one of them"
        )


def _sources(config: "Config") -> Iterator[str]:
    """Every direction and language has the text that the run needs, and no text is both trained and tested on."""
    lists = {f"data.{key}": getattr(config.data, key) for key in ("train", "dev", "test")}
    scores = "landermt" in config.methods and not config.neurons.masks
    more = {"awareness.data": config.awareness.data} if scores else {}
    if config.model.path == PRETRAIN:
        more |= {"pretrain.text": config.pretrain.text, "pretrain.parallel": config.pretrain.parallel}
    for key, sources in (lists | more).items():
        if any(source.kind == "builtin" for source in sources):
            from lander.data.cldr import LANGUAGES

            wanted = config.awareness.languages if key == "awareness.data" else config.languages
            if missing := [code for code in wanted if find_language(code, LANGUAGES) is None]:
                yield (
                    f"{key}: the built-in corpus cldr has no {', '.join(missing)} (it has {', '.join(LANGUAGES)}); "
                    "name a source of your own"
                )
    trains = any(method in TRAINED for method in config.methods)
    needed = {"data.train": trains, "data.dev": "zero-shot" in config.methods, "data.test": True}
    for key in filter(needed.get, lists):
        for direction in config.directions:
            if not any(source.serves(direction) for source in lists[key]):
                yield f"{key}: no source has text for {direction}; add one with both languages, or remove the direction"
    for direction in config.directions:
        names = Counter(source.name for source in config.data.test if source.serves(direction))
        for name in (name for name, count in names.items() if count > 1):
            yield f"data.test: two sources named {name} have text for {direction}; give each its own name"
    for code in config.awareness.languages if scores else ():
        if not any(source.languages is None or None not in source.own([code]) for source in config.awareness.data):
            yield f"awareness.data: no source has text in {code}; add one, or remove the language"
    for key in ("data.dev", "data.test"):
        for train, held in product(config.data.train, lists[key]):
            if lines := train.shared(held):
                yield (
                    f"{key}: {lines} are both in data.train ({train.name}) and held out ({held.name}); give them "
                    "ranges that do not meet"
                )


def _places(config: "Config") -> Iterator[str]:
    """Files, folders, models and executables that keys name."""
    folder = Path("results", config.run)
    if config.run == "slurm-logs":
        yield f"run: {config.run}: {folder} is where the profile slurm puts SLURM's logs; choose another name"
    if os.path.lexists(folder) and not os.path.isdir(folder):
        yield f"run: {config.run}: {folder} is a file, and a run is a folder; choose another name"
    yield from (f"model.path: {fault}" for fault in map(unusable, config.base.files()) if fault)
    template, templates = config.translate.template, [one.name for one in load_templates(config.data.templates)]
    if template not in templates:
        remedy = nearest(template, templates, f"there are: {', '.join(templates)}")
        yield f"translate.template: {template}: no such template; {remedy}"
    if masks := config.neurons.masks:
        if not os.path.isdir(masks):
            yield f"neurons.masks: {masks}: no such folder"
        if len(_without_mask(config)) == len(config.directions):
            yield f"neurons.masks: {masks}: has no <direction>.parquet for any of `directions`"
    for direction in config.directions:
        if missing := missing_tokenizer(direction.target):
            yield f"directions: {direction}: {missing}"
    for name in config.finetune.report_to:
        if find_spec(name) is None:
            yield f"finetune.report_to: {name}: the package is not installed (pip install {name})"
    for metric in config.evaluate.neural:
        place = f"evaluate.neural: {metric.name}"
        if metric.remote and (metric.model.endswith(".ckpt") or not HUB_NAME.fullmatch(metric.model)):
            yield f"{place}: {metric.model}: no such checkpoint, and not a model on the hub (owner/name)"
        if metric.command and shutil.which(metric.command[0]) is None:
            yield f"{place}: {metric.command[0]}: no such executable; leave command out to install COMET"
    for test, directions in config.tested(config.directions).items():
        for name, path in product(config.external, [f"{test}/{direction}.txt" for direction in directions]):
            if not Path(config.external[name], path).is_file():
                yield f"external: {name}: {Path(config.external[name], path)}: no such file; all directions are scored"
    n_layer = config.base.n_layer
    chosen = [config.layers.k] if any(method in MASKED for method in config.methods) else []
    for key, depths in (("layers.k", chosen), ("experiments.sweep_k", config.experiments.sweep_k or ())):
        if n_layer is not None and max(depths, default=0) > n_layer:
            yield f"{key}: {max(depths)} is more than the {n_layer} layers of {config.model.path}; use 0 to {n_layer}"


def _without_mask(config: "Config") -> list[str]:
    """The directions that have no mask in the user's folder."""
    folder = Path(config.neurons.masks)
    return [str(direction) for direction in config.directions if not (folder / f"{direction}.parquet").is_file()]


# ---------------------------------------------------------------- what is allowed and looks wrong


def warnings(config: "Config") -> Iterator[str]:
    """One line for each thing that is allowed and looks like a mistake."""
    scored, masks, methods = config.awareness.languages, config.neurons.masks, config.methods
    if config.model.revision and config.base.kind != "hub":
        yield f"model.revision: {config.model.revision} is not used: {config.model.path} is not a model of the hub"
    everywhere = all(set(scored) <= {direction.source, direction.target} for direction in config.directions)
    if everywhere and not masks and any(method in MASKED for method in methods):
        example = ", ".join([*scored, *(code for code in ("fr", "zh") if code not in scored)])
        yield (
            "awareness.languages: every scored language takes part in every direction, so no neuron is excluded from "
            f"any; add contrast languages, for example [{example}]"
        )
    if masks and (missing := _without_mask(config)):
        yield f"neurons.masks: {masks}: no mask of {', '.join(missing)}; they run the base's graph, untrained"
    size = config.base.weight_bytes  # None: on the hub, and hardly a toy, which takes higher rates
    if config.model.path != PRETRAIN and (size is None or size >= TOY_BYTES):
        high = [
            f"{name} {own.learning_rate:g} (usual: {METHODS[name].rate:g})"
            for name, own in config.finetune.methods.items()
            if name in methods and own.learning_rate > FAR_ABOVE * METHODS[name].rate
        ]
        if high:
            yield f"finetune.learning_rate: far above the usual for a model of this size: {', '.join(high)}"
    tests = config.data.test if any(method in TRAINED for method in methods) else ()
    loose = [test.name for test in tests if not any(_covers(one, test) for one in config.data.exclude)]
    for name in dict.fromkeys(loose):
        yield (
            f"data.exclude: the test set {name} is not in it, so training may have its sentences; name its source "
            "there too"
        )


def _covers(excluded: Source, test: Source) -> bool:
    """Whether all text of a test source is in an excluded one."""
    (start, stop), (first, last) = excluded.range, test.range
    inside = start <= first and (stop is None or (last is not None and last <= stop))
    return inside and test.origins <= excluded.origins
