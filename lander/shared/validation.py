"""Raw values (from YAML, JSON or the command line) as a section; what is wrong is said in one line.

A message names the full key, the value that was found, what is wanted, and the nearest right key of a misspelt one.

    validate(Config, {"finetune": {"stepz": 1}})
    ->  UserError: finetune.stepz: no such key; did you mean finetune.steps?
"""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import TypeAdapter, ValidationError

from lander.shared.errors import UserError
from lander.shared.section import Section, choices, items, keys, members, section_of

S = TypeVar("S", bound=Section)
WANTED = {  # kind of pydantic's error -> what is wanted
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "literal_error": "{expected}",
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "too_short": "at least {min_length} values",
    "too_long": "at most {max_length} values",
    "string_too_short": "text that is not empty",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "letters and digits (and . _ - in between), as in {example}",
}
DEEPEST = 50  # lists and mappings inside each other
LARGEST = 1e15  # of a number: counts of tokens stay below, and floats are exact up to there
UNION = re.compile(r"(tuple|dict)\[")  # in the place of an error: a type of a union
SCIENTIFIC = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


def validate(section: type[S], raw: Mapping[str, Any], place: str = "") -> S:
    """A section from raw values, with defaults for absent keys; `place` is its dotted name in the config, for messages.

    UserError for an unknown key, or a value of the wrong type or out of range.
    """
    words = read_words(raw, section)
    check_values(words, place)
    try:
        return section.model_validate(words)
    except ValidationError as error:
        raise UserError(_message(section, error, place)) from None


def problem(annotation: Any, value: Any) -> str | None:
    """What is wrong with a value of a type; None if nothing is."""
    try:
        TypeAdapter(annotation, config={"strict": True}).validate_python(value)
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        null = " or null" if type(None) in members(annotation) else ""
        return f"{_show(value)} given, wanted {_wanted(found, '')}{null}"
    return None


# ---------------------------------------------------------------- words


def read_words(value: Any, annotation: Any) -> Any:
    """Undo what happens to plain values on their way through YAML and the command line.

    5e-5 is text to YAML, `off` is false, `--config` makes text of all numbers, 1e3 updates are a float.
    """
    options = members(annotation)
    kinds = {kind for kind in (str, int, float, bool, type(None)) if kind in options}
    kinds |= {type(choice) for choice in choices(annotation)}
    if isinstance(value, str) and kinds and str not in kinds:
        value = float(value) if SCIENTIFIC.fullmatch(value) else _plain(value)
    if isinstance(value, float) and value.is_integer() and int in kinds and float not in kinds:
        return int(value)
    if value is False and bool not in kinds and "off" in choices(annotation):
        return "off"
    if isinstance(value, list | tuple) and (inner := items(annotation)):
        return tuple(read_words(item, inner) for item in value)
    for option in options if isinstance(value, Mapping) else ():
        if section := section_of(option):
            types = section.annotations()
            return {key: read_words(item, types.get(key)) for key, item in value.items()}
        if get_origin(option) is dict:
            return {key: read_words(item, get_args(option)[1]) for key, item in value.items()}
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


def check_values(value: Any, place: str, depth: int = 0) -> None:
    """Refuse what no section can hold: keys that are not text, control characters, infinities, endless nesting.

    YAML reads some bare words as something else than text. Infinity and NaN pass all bounds.
    """
    if depth > DEEPEST:
        raise UserError(f"{place[:60]}...: more than {DEEPEST} lists or mappings inside each other")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise UserError(f"{place or 'config'}: the key {_show(key)} is not text; {_quote(key)}")
            _check_text(key, place or "config")
            check_values(item, f"{place}.{key}" if place else key, depth + 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            check_values(item, f"{place}[{index}]", depth + 1)
    elif isinstance(value, str):
        _check_text(value, place)
    elif isinstance(value, int | float) and not abs(value) <= LARGEST:
        raise UserError(f"{place}: {_show(value)} given, wanted a number of at most {LARGEST:.0e}")


def _check_text(text: str, place: str) -> None:
    """No control character (a line break in a path, for example) and no half of a character."""
    bad = next((char for char in text if unicodedata.category(char) in ("Cc", "Cs")), None)
    if bad is not None:
        raise UserError(f"{place}: {text[:60]!r} holds the character {bad!a}, which does not belong there; remove it")


# ---------------------------------------------------------------- messages


def _message(root: type[Section], error: ValidationError, place: str) -> str:
    """The most important of the errors: an unknown key first, then the one that is nearest to the top.

    A list is also too short for pydantic if its items are wrong, and a value is none of the other types of a union:
    such errors come last.
    """
    errors = error.errors(include_url=False)

    def order(one: Mapping[str, Any]) -> tuple[int, int]:
        last = one["type"] == "too_short" or (one["loc"] and UNION.match(str(one["loc"][-1])))
        return 0 if one["type"] == "unknown_key" else 2 if last else 1, len(one["loc"])

    first = min(errors, key=order)
    path, value = _dotted(first["loc"]), first["input"]
    full = ".".join(filter(None, (place, path)))
    if first["type"] == "unknown_key":
        return _unknown_key(root, f"{full}." if full else "", **first["ctx"])
    if first["type"] == "missing":
        return f"{full}: missing; add it"
    if first["type"] == "value_error":  # of a section's own validator
        return f"{full}: {first['ctx']['error']}"
    if isinstance(value, bool) and first["type"] == "string_type":
        return not_text(full, value)
    wanted = [_wanted(one, path) for one in errors if _dotted(one["loc"]) == path]  # one for each type of a union
    null = [key for key in keys(root) if key.name == path and type(None) in members(key.field.annotation)]
    said = f"{full}: {_show(value)} given, wanted {either([*wanted, *(['null'] if null else [])])}"
    if value is None and first["type"] == "model_type":
        return f"{said}; remove the empty section, or give it keys"
    options = re.findall("'([^']+)'", wanted[0]) if first["type"] == "literal_error" else []
    near = difflib.get_close_matches(str(value), options, 1)
    return f"{said}; did you mean {near[0]}?" if near else said


def _wanted(error: Mapping[str, Any], path: str) -> str:
    """What a value should have been."""
    text = WANTED.get(error["type"], "a value of another form")
    wanted = text.format(**error.get("ctx", {}), example="demo" if path == "run" else "en")
    return wanted.removesuffix("s") if " 1 " in wanted else wanted


def _unknown_key(root: type[Section], prefix: str, key: str, known: list[str]) -> str:
    """Name the nearest key: a sibling, or one that has this name, or nearly, in another section."""
    near = [prefix + name for name in difflib.get_close_matches(key, known, 1)]
    everywhere = [(one.name, one.name.rsplit(".", 1)[-1]) for one in keys(root)]
    for last in difflib.get_close_matches(key, dict.fromkeys(last for _, last in everywhere), 1, cutoff=0.8):
        near = near or [name for name, its_last in everywhere if its_last == last][:3]
    remedy = f"did you mean {either(near)}?" if near else f"known here: {', '.join(known)}"
    return f"{prefix}{key}: no such key; {remedy}"


def not_text(place: str, value: Any) -> str:
    """What is said of a value that should be text; YAML reads some bare words as true or false."""
    return f"{place}: {_show(value)} given, wanted text; {_quote(value)}"


def _dotted(path: Iterable[str | int]) -> str:
    """`data.train[0].files`; without the names that pydantic gives to the types of a union, as `tuple[...]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif not UNION.match(part):
            text += f".{part}" if text else part
    return text


def _quote(value: Any) -> str:
    words = {False: "no or off", True: "yes or on"}.get(value) if isinstance(value, bool) else None
    return f"YAML reads a bare {words} as {_show(value)}: write it in quotes" if words else "write it in quotes"


def _show(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    if isinstance(value, int) and abs(value) > 10**60:  # Python refuses to write thousands of digits
        return "a number of more than 60 digits"
    if isinstance(value, tuple):
        value = list(value)
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def either(words: Iterable[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    *most, last = dict.fromkeys(words)
    return f"{', '.join(most)} or {last}" if most else last
