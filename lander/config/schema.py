"""The schema of the config: defaults are filled in from it, and what breaks it is told in one line.

A message names the full key, what was found there, what is wanted, and the nearest right key where one is misspelt.
"""

import difflib
import re
import unicodedata
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError

from lander.config.methods import METHODS, TRAINED
from lander.shared.errors import UserError
from lander.shared.files import shipped

TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping of keys to values",
    "null": "null",
}
LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "minItems": "at least {} values",
    "maxItems": "at most {} values",
    "minProperties": "at least {} keys",
    "maxLength": "at most {} characters",
    "minLength": "text that is not empty",
    "pattern": "letters and digits (and . _ - in between), as in {}",
}
DEEPEST = 50  # lists and mappings inside each other
LARGEST = 1e15  # number: counts of tokens stay below, and floats are exact up to there
SCIENTIFIC = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


@cache
def schema() -> dict[str, Any]:
    """The schema, as read from its file, with a section below finetune for each method."""
    read = yaml.safe_load(shipped("workflow/schemas/config.schema.yaml").read_text(encoding="utf-8"))
    for name in TRAINED:
        read["properties"]["finetune"]["properties"][name] = {
            "description": f"Settings of the method {name}.",
            "type": "object",
            "additionalProperties": False,
            "default": {},
            "properties": {"learning_rate": {"$ref": "#/$defs/learning_rate"}, **METHODS[name].settings},
        }
    return read


def validate(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Check a config against the schema; return a copy with the defaults filled in.

    Raises:
        UserError: an unknown key, or a value of the wrong type or out of range.
    """
    _check_keys(raw, "")
    config = _read(deepcopy(dict(raw)), schema())
    _check_numbers(config, "")
    errors = list(Draft202012Validator(schema()).iter_errors(config))
    if errors:
        raise UserError(_message(min(errors, key=_importance)))
    return _fill(config, schema())


def keys(node: Mapping[str, Any] | None = None, prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every key of the config, dotted, with its part of the schema; sections before what is in them."""
    for name, child in _target(node or schema()).get("properties", {}).items():
        key, child = f"{prefix}{name}", {**_target(child), **child}
        yield key, child
        yield from keys(child, f"{key}.")


def choices(name: str) -> list[str]:
    """The values of a key that has a fixed set of them, by its dotted name."""
    return list(dict(keys())[name]["enum"])


def _target(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema that a `$ref` points at, or the node itself."""
    return schema()["$defs"][node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else node


def _read(value: Any, node: Mapping[str, Any]) -> Any:
    """Undo what happens to plain words: 5e-5 is text to YAML, `off` is false, `--config` makes text of all numbers."""
    node = _target(node)
    if isinstance(value, str) and "type" in node and "string" not in node["type"]:
        value = float(value) if SCIENTIFIC.fullmatch(value) else _plain(value)
    if isinstance(value, float) and value.is_integer() and "integer" in node.get("type", ()):
        return int(value)  # 1e3 updates
    if value is False and "off" in node.get("enum", ()):
        return "off"
    if isinstance(value, list) and "items" in node:
        return [_read(item, node["items"]) for item in value]
    if isinstance(value, Mapping):
        known = node.get("properties", {})
        return {key: _read(item, known[key]) if key in known else item for key, item in value.items()}
    return value


def _plain(text: str) -> Any:
    """The number, true, false or null that a text is for YAML; the text itself, if it is something else."""
    if len(text) > 100 or ":" in text:  # 1:30 is 90 to YAML
        return text
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError):  # 2024-13-45, !!bool x
        return text
    return value if value is None or isinstance(value, bool | int | float) else text


def _fill(value: Any, node: Mapping[str, Any]) -> Any:
    """Add the defaults of absent keys, at every depth; sources have none."""
    for name, child in _target(node).get("properties", {}).items():
        child = {**_target(child), **child}
        if name not in value and "default" in child:
            value[name] = deepcopy(child["default"])
        if name in value and isinstance(value[name], dict):
            _fill(value[name], child)
    return value


def _check_keys(value: Any, place: str, depth: int = 0) -> None:
    """Keys of mappings are text; YAML reads some bare words as something else. Text is such as files can hold."""
    if depth > DEEPEST:
        raise UserError(f"{place[:60]}...: more than {DEEPEST} lists or mappings inside each other")
    if isinstance(value, str):
        _check_text(value, place)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise UserError(f"{place or 'config'}: the key {_show(key)} is not text; {_quote(key)}")
            _check_text(key, place or "config")
            _check_keys(item, f"{place}.{key}" if place else key, depth + 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_keys(item, f"{place}[{index}]", depth + 1)


def _check_text(text: str, place: str) -> None:
    """No control character (a line break in a path, for example), no half of a character."""
    bad = next((char for char in text if unicodedata.category(char) in ("Cc", "Cs")), None)
    if bad is not None:
        raise UserError(f"{place}: {text[:60]!r} holds the character {bad!a}, which does not belong there; remove it")


def _check_numbers(value: Any, place: str) -> None:
    """No infinity, no NaN (they pass all bounds), no number that overflows."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_numbers(item, f"{place}.{key}" if place else key)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_numbers(item, f"{place}[{index}]")
    elif isinstance(value, int | float) and not abs(value) <= LARGEST:
        raise UserError(f"{place}: {_show(value)} given, wanted a number of at most {LARGEST:.0e}")


def _importance(error: ValidationError) -> tuple[bool, int]:
    """Unknown keys first: a value may be missing only because its key is misspelt."""
    return error.validator != "additionalProperties", len(error.absolute_path)


def _message(error: ValidationError) -> str:
    place = _dotted(error.absolute_path)
    rule, limit = error.validator, error.validator_value
    if rule == "additionalProperties":
        unknown = next(key for key in error.instance if key not in error.schema["properties"])
        return _unknown_key(place, unknown, list(error.schema["properties"]))
    if rule == "required":
        missing = next(key for key in limit if key not in error.instance)
        return f"{f'{place}.' if place else ''}{missing}: missing; add it"
    given = f"{place}: {_show(error.instance)} given"
    if rule == "enum":
        near = difflib.get_close_matches(str(error.instance), [str(value) for value in limit], 1)
        return f"{given}, wanted {_either(map(_show, limit))}{f'; did you mean {near[0]}?' if near else ''}"
    if rule == "type":
        wanted = _either(TYPES[kind] for kind in ([limit] if isinstance(limit, str) else limit))
        return f"{given}, wanted {wanted}{_type_remedy(error.instance, limit)}"
    example = "demo" if place == "run" else "en"
    wanted = LIMITS.get(rule, "{}").format(example if rule == "pattern" else limit)
    return f"{given}, wanted {wanted.removesuffix('s') if limit == 1 else wanted}"


def _type_remedy(value: Any, wanted: str | list[str]) -> str:
    if value is None and wanted == "object":
        return "; remove the empty section, or give it keys"
    if isinstance(value, bool) and "string" in wanted:
        return f"; {_quote(value)}"
    return ""


def _quote(value: Any) -> str:
    words = {False: "no or off", True: "yes or on"}.get(value) if isinstance(value, bool) else None
    return f"YAML reads a bare {words} as {_show(value)}: write it in quotes" if words else "write it in quotes"


def _unknown_key(place: str, unknown: str, siblings: list[str]) -> str:
    prefix = f"{place}." if place else ""
    near = [prefix + name for name in difflib.get_close_matches(unknown, siblings, 1)]
    near = near or [key for key, _ in keys() if key.rsplit(".", 1)[-1] == unknown]
    everywhere = {key.rsplit(".", 1)[-1]: key for key, _ in keys()}
    near = near or [everywhere[name] for name in difflib.get_close_matches(unknown, everywhere, 1, cutoff=0.8)]
    remedy = f"did you mean {_either(near)}?" if near else f"known here: {', '.join(siblings)}"
    return f"{prefix}{unknown}: no such key; {remedy}"


def _dotted(path: Any) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _show(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    if isinstance(value, int) and abs(value) > 10**60:  # Python refuses to write thousands of digits
        return "a number of more than 60 digits"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _either(words: Any) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last
