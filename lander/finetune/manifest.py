"""Checks of a trained model's manifest, and of the record of its training, before they are used.

They may come from other people: names in them become names of files, sizes become memory.
"""

from pathlib import Path
from typing import Any

from lander.config.methods import METHODS, TRAINED
from lander.shared.errors import UserError
from lander.shared.languages import parse_direction

MANIFEST = {  # key -> what the manifest of a trained model has there
    "method": str,
    "base": dict,
    "directions": list,
    "languages": dict,
    "templates": list,
    "masked": list,
    "routing": dict | None,
    "sizes": dict,
}
ROUTING = {"scale": ("input", "output"), "gate": ("static", "learned", "off")}
LARGEST_BOTTLENECK = 1_000_000


def check_manifest(manifest: Any, where: Path) -> None:
    """Check that the keys that loading relies on are there and of their types.

    Raises:
        UserError: one is not; a method of another version.
    """
    wrong = [key for key, kind in MANIFEST.items() if not isinstance(manifest.get(key, ...), kind)]
    if "base" not in wrong:
        wrong += [f"base.{key}" for key in ("path", "digest") if not isinstance(manifest["base"].get(key), str)]
    for key in ("directions", "templates", "masked"):
        if key not in wrong and not all(map(_is_text, manifest[key])):
            wrong.append(key)
    if not wrong:
        wrong += [] if manifest["templates"] else ["templates"]
        wrong += [key for key in ("directions", "masked") if not all(map(_is_direction, manifest[key]))]
        wrong += [] if all(map(_is_text, manifest["languages"].values())) else ["languages"]
        wrong += [] if isinstance(manifest["base"].get("revision"), str | None) else ["base.revision"]
    if wrong:
        raise UserError(f"{where}: `{wrong[0]}` is missing or wrong; train the model again")
    parts = parts_of(manifest, where)
    routing = manifest["routing"] or {}
    if "blocks" in parts and any(routing.get(key) not in known for key, known in ROUTING.items()):
        raise UserError(f"{where}: `routing` is missing or wrong; train the model again")
    size = manifest["sizes"].get("bottleneck")
    if "bottlenecks" in parts and not (type(size) is int and 0 < size <= LARGEST_BOTTLENECK):
        raise UserError(f"{where}: `sizes.bottleneck` is missing or wrong; train the model again")


def _is_text(value: object) -> bool:
    """Whether a value is text that a tokenizer and a file can take: JSON can spell halves of characters."""
    return isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value)


def _is_direction(name: str) -> bool:
    """Whether a text is a direction as files are called after it: nothing that leads out of a folder."""
    try:
        return str(parse_direction(name)) == name
    except UserError:
        return False


def parts_of(manifest: dict[str, Any], where: Path | str = "lander.json") -> tuple[str, ...]:
    """What a trained model consists of.

    Raises:
        UserError: a method of another version.
    """
    if manifest["method"] not in TRAINED:
        raise UserError(f"{where}: the method {manifest['method']!r} is unknown to this version of Lander")
    return METHODS[manifest["method"]].parts


def check_provenance(made: Any, where: Path) -> None:
    """Check the types of what a card prints of a training's record.

    Raises:
        UserError: something is not.
    """
    kinds = {"settings": dict, "versions": dict, "pairs": dict, "sources": list, "updates": int, "variant": str}
    kinds |= {"parameters_trained": int, "parameters_total": int, "commit": str, "git": dict}
    wrong = ["it"] if not isinstance(made, dict) else [
        key for key, kind in kinds.items() if not isinstance(made.get(key), kind | None)
    ]  # fmt: skip
    if not wrong and not all(isinstance(name, str) for name in made.get("sources") or ()):
        wrong = ["sources"]
    counts = [] if wrong else (made.get("pairs") or {}).values()
    if not all(isinstance(count, dict) and isinstance(count.get("used"), int) for count in counts):
        wrong = ["pairs"]
    train = [] if wrong else (made.get("settings") or {}).get("train", [])
    if not isinstance(train, list) or not all(isinstance(path, str) for path in train):
        wrong = ["settings.train"]
    if wrong:
        raise UserError(f"{where}: `{wrong[0]}` of the training's record is damaged; train the model again")
