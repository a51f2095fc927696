"""The models that are served: the directions that each of them offers, and what its routing does there."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import lander
from lander.finetune.blocks import BlockFFN
from lander.models import loading
from lander.models.plain import hub_id
from lander.report.translations import text_direction
from lander.shared.errors import UserError
from lander.shared.languages import Direction, language_name, parse_language
from lander.shared.tables import ABSENT, BASE, GENERAL, SOURCE, TARGET
from lander.translate.translator import Translator

ROLES = (GENERAL, SOURCE, TARGET, BASE, ABSENT)  # in the order of the page's bars


@dataclass(eq=False)
class Served:
    """A model. `routing`: direction -> its layers with blocks, see `layer_parts`; it runs no other direction."""

    name: str
    translator: Translator
    routing: dict[Direction, list[dict[str, Any]]]

    @property
    def longest(self) -> int:
        """Tokens that the model is made for."""
        return loading.positions(self.translator.network) or loading.ALIBI

    def facts(self) -> dict[str, Any]:
        """What the page shows of the model."""
        return {
            "name": self.name,
            "layers": self.translator.network.config.num_hidden_layers,
            "trained": [[one.source, one.target] for one in self.translator.directions],
            "directions": [
                {"source": one.source, "target": one.target, "layers": layers} for one, layers in self.routing.items()
            ],
        }


class Offer:
    """All models, and the languages between which they translate (code -> name)."""

    def __init__(self, models: Sequence[Served], languages: dict[str, str]):
        self.models = {model.name: model for model in models}
        self.languages = languages

    def code(self, code: str) -> str | None:
        """A language in our own codes: `eng` and `EN` are `en`; None if it is not offered."""
        wanted = parse_language.__wrapped__(code)  # without the cache, which would keep whatever is asked for
        return next((own for own in self.languages if own == code or parse_language(own) == wanted), None)

    def listed(self) -> list[dict[str, Any]]:
        """The languages as the LibreTranslate API lists them, with the direction in which they are written."""
        first = next(iter(self.models.values()))
        return [
            {
                "code": code,
                "name": name,
                "targets": [one.target for one in first.routing if one.source == code],
                "dir": text_direction("", code),
            }
            for code, name in self.languages.items()
        ]


def load(paths: Sequence[str], codes: Sequence[str], dtype: str, base: str | None, prompt: str | None) -> Offer:
    """Load models for the languages of some codes; by default for those that the trained ones know."""
    names = {code: language_name(code) for code in codes}
    loaded = [(path, lander.load(path, dtype, base, prompt=prompt)) for path in paths]
    languages = {code: name for _, model in loaded for code, name in model.languages.items()}
    if names:
        languages = {code: languages.get(code, name) for code, name in names.items()}
    if len(languages) < 2:
        raise UserError("--languages: a base does not say which it knows; name two or more, as in --languages en de")
    served: list[Served] = []
    for path, translator in loaded:
        translator.languages = languages | translator.languages
        name = called(path)
        same = sum(other.name.split(" (")[0] == name for other in served)
        model = Served(f"{name} ({same + 1})" if same else name, translator, routes(translator, list(languages)))
        if not model.routing:
            raise UserError(f"{path}: it translates between none of {', '.join(languages)}; name others (--languages)")
        served.append(model)
    return Offer(served, languages)


def called(path: str) -> str:
    """What a model is called: its place in a run, an id of the hub, or the last part of its path. No folders above."""
    parts = Path(path).absolute().parts
    if len(parts) > 4 and parts[-4] == "finetune":
        return "/".join(parts[-3:])
    return hub_id(path)[0] or parts[-1]


def routes(translator: Translator, codes: list[str]) -> dict[Direction, list[dict[str, Any]]]:
    """The directions between some languages that a model runs, with their routing."""
    found = {}
    for direction in (Direction(*pair) for pair in permutations(codes, 2)):
        try:
            translator.route(direction)
        except UserError:  # a language without neurons
            continue
        parts = [layer_parts(ffn, layer, str(direction)) for layer, ffn in translator.ffns.items()]
        found[direction] = parts
    translator.route(None)
    return found


def layer_parts(ffn: BlockFFN, layer: int, direction: str) -> dict[str, Any]:
    """What the current direction does with the neurons of a layer.

    `parts`: of each role the share of the neurons, and the factor that they run with.
    """
    total = sum(len(group.neurons) for group in ffn.groups if not group.copy)
    found = {"layer": layer, "neurons": total}
    if direction in ffn.untouched_in:
        return found | {"parts": [{"role": BASE, "share": 1.0, "factor": 1.0}]}
    counts, factors = dict.fromkeys(ROLES, 0), {}
    for group, scale in zip(ffn.groups, ffn.scales(ffn.shifts(), direction), strict=True):
        if scale is not None:
            role = group.routes[direction][0]
            counts[role] += len(group.neurons)
            factors[role] = round(float(scale), 4)
    counts[ABSENT] = total - sum(counts.values())
    parts = [{"role": role, "share": counts[role] / total, "factor": factors.get(role)} for role in ROLES]
    return found | {"parts": [part for part in parts if part["share"]]}
