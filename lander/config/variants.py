"""Variants of the config. A trained model is a method, a variant and a seed; a variant is a row of a table.

| name | what differs from the config |
|---|---|
| `main` | nothing |
| `k3` | `layers.k: 3` |
| `general0.5` | `neurons.general_share: 0.5` |
| `most0.05`, `least0.05`, `exchanged0.05` | that share of the neurons is trained (`neurons.pick`), of the FFN alone |
| `only-en-de` | one direction is trained; all are tested |
| `draw2` | nothing: the second draw of the controls `random` and `random-layers` |
| `paper`, `repaired` | all switches, as that set of `readings` has them |
| `routing.gate-off` | one key, of those of `readings` and `awareness.estimator` |
| `lr0.003` | the learning rate, and `experiments.tune_share` of the budget: a trial of `tune` |
| `mix0.5` | nothing: the average of the base's weights and those of `full`, half of each; nothing is trained |

`Variants` builds the table from the config. It has a row for every depth of the model, every switch and every
direction, and those that the section `experiments` names (`sweep_k`, `sweep_epsilon`, `sweep_trained`, `draws`,
`mixes`). The learning rates of trials are known only while `tune` runs: the workflow adds their rows then (`trial`).

Models with the same settings of a stage share its tables. The first such model names the folder, the *selection*.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from operator import attrgetter
from typing import Any

from lander.config.config import READINGS, Config
from lander.config.methods import MASKED, METHODS
from lander.shared.errors import UserError, nearest
from lander.shared.languages import Direction
from lander.shared.section import choices, keys

SWITCHES = [key.name for key in keys(Config) if key.readings]
VALUES = {key.name: choices(key.field.annotation) for key in keys(Config)}  # of keys with a fixed set of them


@dataclass(frozen=True)
class Variant:
    """A row of the table."""

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)  # key -> value, or section -> key -> value
    draw: int = 1  # of the random controls
    mix: float | None = None  # share of the tuned weights, if the model is an average of weights
    trial: bool = False  # of a learning rate


MAIN = Variant("main")


def draw(number: int) -> Variant:
    """A draw of the random controls; `main` is the first."""
    return Variant(f"draw{number}", draw=number) if number > 1 else MAIN


def mix(share: float) -> Variant:
    """The average of the base's and the tuned weights, with this share of the tuned ones."""
    return Variant(f"mix{share:g}", mix=share)


def depth(k: int) -> Variant:
    """k layers are chosen."""
    return Variant(f"k{k}", {"layers": {"k": k}})


def general(share: float) -> Variant:
    """This share of the neurons is general."""
    return Variant(f"general{share:g}", {"neurons": {"general_share": float(share)}})


def trained_share(pick: str, share: float) -> Variant:
    """This share of the neurons is trained, and nothing but neurons."""
    changes = {"neurons": {"pick": pick, "trained_share": float(share)}, "finetune": {"scope": "neurons"}}
    return Variant(f"{pick}{share:g}", changes)


def switch(key: str, value: str) -> Variant:
    """One key, `section.key`, has another value."""
    section, name = key.split(".")
    return Variant(f"{key}-{value}", {section: {name: value}})


def only(settings: Config, direction: Direction) -> Variant:
    """One direction is trained. `finetune.accumulate` is one then, if the config has one per direction."""
    finetune = settings.finetune
    one_each = finetune.accumulate == len(settings.directions) and not finetune.mix_directions
    each = finetune.ranks if one_each else finetune.accumulate
    return Variant(f"only-{direction}", {"directions": (direction,), "finetune": {"accumulate": each}})


def trial(settings: Config, name: str, rate: float) -> Variant:
    """A learning rate for all methods, with a shorter training and a warmup in proportion."""
    finetune, share = settings.finetune, settings.experiments.tune_share
    methods = {name: {"learning_rate": rate} for name in finetune.methods}
    steps = finetune.steps and max(1, round(finetune.steps * share))
    shorter = {"steps": steps, "epochs": finetune.epochs * share, "warmup": round(finetune.warmup * share)}
    return Variant(name, {"finetune": {**shorter, **methods}}, trial=True)


def switches(settings: Config) -> list[Variant]:
    """The variants that change one switch of the readings each."""
    return [switch(key, value) for key in SWITCHES for value in VALUES[key] if value != attrgetter(key)(settings)]


def configure(settings: Config, variant: Variant, method: str | None = None) -> Config:
    """The config of a variant, with what a method that uses masks changes in it."""
    changed = settings.changed(variant.changes)
    return changed.changed(MASKED[method].changes) if method in MASKED else changed


class Variants:
    """The table of variants of a config, and the tables that their models share."""

    def __init__(
        self, settings: Config, n_layer: int | None = None, more: Callable[[], Iterable[Variant]] = tuple
    ) -> None:
        """Build the table.

        `n_layer` is None for a model that is not on this machine yet: depths end a little above `layers.k`. `more`
        gives rows that are known only while a run goes on; it is asked when a name is not in the table.
        """
        self.settings, self.more = settings, more
        self.depths = range((settings.layers.k + 4 if n_layer is None else n_layer) + 1)
        self.rows = {row.name: row for row in self._rows()}
        self.selections = {_folder(method, name): (method, name) for method in MASKED for name in self.rows}
        self.config, self.selection, self.readings = map(cache, (self._config, self._selection, self._readings))

    def _rows(self) -> Iterator[Variant]:
        settings, own = self.settings, self.settings.experiments
        yield MAIN
        yield from (Variant(name, changes) for name, changes in READINGS.items())
        yield from (switch(key, value) for key in (*SWITCHES, "awareness.estimator") for value in VALUES[key])
        yield from map(depth, {*self.depths, *(own.sweep_k or ())})
        yield from map(general, own.sweep_epsilon)
        yield from (trained_share(pick, share) for pick in VALUES["neurons.pick"] for share in own.sweep_trained)
        yield from (only(settings, direction) for direction in settings.directions)
        yield from map(draw, range(2, own.draws + 1))
        yield from map(mix, own.mixes)

    def row(self, name: str) -> Variant:
        """The variant of a name."""
        if name not in self.rows:
            self.rows |= {row.name: row for row in self.more()}
        if name in self.rows:
            return self.rows[name]
        raise UserError(
            f"{name}: not a variant of this config; {nearest(name, self.rows, 'docs/tables.md lists them')} "
            "(experiments.sweep_k, sweep_epsilon, sweep_trained, draws and mixes add others, and `tune` learning rates)"
        )

    def _config(self, method: str, name: str) -> Config:
        """The config of a model: `configure` with the row of a name, computed once."""
        if method not in METHODS:
            raise UserError(f"{method}: no such method; there are {', '.join(METHODS)}")
        return configure(self.settings, self.row(name), method)

    # ------------------------------------------------------------ shared tables

    def _selection(self, stage: str, method: str, name: str) -> str:
        """The folder of layers, neurons or masks that a model uses: that of the first with the same settings."""
        wanted = self.seen_by(stage, method, name)
        candidates = (("landermt", MAIN.name), (method, MAIN.name), ("landermt", name), (method, name))
        return next(_folder(*one) for one in candidates if self.seen_by(stage, *one) == wanted)

    def selected(self, folder: str) -> tuple[str, str]:
        """Method and variant that name a selection."""
        if folder not in self.selections:
            raise UserError(f"{folder}: no model of this config has tables of this name; see docs/tables.md")
        return self.selections[folder]

    def seen_by(self, stage: str, method: str, name: str) -> tuple:
        """Everything that decides the tables of a stage for a model."""
        config, recipe = self.config(method, name), MASKED[method]
        kind = recipe.random if stage != "layers" or recipe.random == "layers" else None
        seen: tuple = (config.activations, config.layers, (kind, self.row(name).draw) if kind else None)
        if stage in ("neurons", "masks"):
            seen += (config.awareness, config.neurons)
        if stage == "masks":
            seen += (config.routing, recipe.train, config.ablation if recipe.train != "both" else None)
        return seen

    def _readings(self, section: str, keys: tuple[str, ...]) -> dict[str, Any]:
        """Folder, with its slash -> a section of the config, for all values of some keys that the variants have.

        The folder's name is made of the values that differ from the config's; it is empty for the config's own.
        """
        main, found = getattr(self.settings, section), {}
        for row in self.rows.values():
            own = getattr(configure(self.settings, row), section)
            found.setdefault(reading(own, main, keys), own)
        return found


def reading(section: Any, main: Any, keys: tuple[str, ...]) -> str:
    """The folder, with its slash, of tables for which some keys have other values than the config's, or nothing."""
    other = [getattr(section, key) for key in keys if getattr(section, key) != getattr(main, key)]
    return f"{'-'.join(other)}/" if other else ""


def _folder(method: str, name: str) -> str:
    return name if method == "landermt" else f"{method}+{name}"
