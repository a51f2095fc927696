"""Raw values (from YAML, JSON or the command line) as a section; what is wrong is said in one line.

A message names the full key, the value that was found, what is wanted, and the nearest right key of a misspelt one.

    validate(Config, {"finetune": {"stepz": 1}})
    ->  UserError: finetune.stepz: no such key; did you mean finetune.steps?
"""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin

import yaml
from pydantic import TypeAdapter, ValidationError

from lander.shared.errors import UserError
from lander.shared.section import Section, choices, keys, members, section_of

S = TypeVar("S", bound=Section)
TYPES = {str: "text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}
LIMITS = {  # kind of pydantic's error -> what is wanted
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
SCIENTIFIC = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


def validate(section: type[S], raw: Mapping[str, Any], place: str = "") -> S:
    """A section from raw values; absent keys get their defaults.

    Args:
        place: dotted name of the section in the config, for messages.
    Raises:
        UserError: an unknown key, or a value of the wrong type or out of range.
    """
    check_values(raw, place)
    words = read_words(raw, section)
    check_values(words, place)  # again: 1e999 was text before
    try:
        return section.model_validate(words)
    except ValidationError as error:
        raise UserError(_message(section, min(error.errors(include_url=False), key=_importance), place)) from None


def problem(section: type[Section], name: str, value: Any) -> str | None:
    """What is wrong with the value of one field; None where nothing is."""
    field = section.model_fields[name]
    try:
        TypeAdapter(Annotated[field.annotation, field], config={"strict": True}).validate_python(value)
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        return (
            f"{_show(value[0] if isinstance(value, tuple) else value)} given, wanted {_wanted(section, found, [name])}"
        )
    return None


# ---------------------------------------------------------------- words


def read_words(value: Any, annotation: Any) -> Any:
    """Undo what happens to plain values on their way through YAML and the command line.

    5e-5 is text to YAML, `off` is false, `--config` makes text of all numbers, 1e3 updates are a float.
    """
    options = members(annotation)
    kinds = {kind for option in options for kind in _kinds(option)}
    if isinstance(value, str) and kinds and str not in kinds:
        value = float(value) if SCIENTIFIC.fullmatch(value) else _plain(value)
    if isinstance(value, float) and value.is_integer() and int in kinds and float not in kinds:
        return int(value)
    if value is False and bool not in kinds and "off" in choices(annotation):
        return "off"
    if isinstance(value, list | tuple):
        items = next((get_args(option)[0] for option in options if get_origin(option) is tuple), Any)
        return tuple(read_words(item, items) for item in value)
    if isinstance(value, Mapping):
        for option in options:
            if section := section_of(option):
                names = {field.alias or name: field.annotation for name, field in section.model_fields.items()}
                return {key: read_words(item, names.get(key, Any)) for key, item in value.items()}
            if get_origin(option) is dict:
                return {key: read_words(item, get_args(option)[1]) for key, item in value.items()}
    return value


def _kinds(annotation: Any) -> list[type]:
    """The plain types that an annotation takes; none where it takes lists, mappings or anything else."""
    if values := choices(annotation):
        return [type(value) for value in values]
    return [annotation] if annotation in TYPES else []


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


def _importance(error: Mapping[str, Any]) -> tuple[bool, int]:
    """Unknown keys first: a value may be missing only because its key is misspelt."""
    return error["type"] != "extra_forbidden", len(error["loc"])


def _message(root: type[Section], error: Mapping[str, Any], place: str) -> str:
    path = _path(root, error["loc"])
    dotted = _dotted([*([place] if place else []), *path])
    if error["type"] == "extra_forbidden":
        return _unknown_key(root, path, place)
    if error["type"] == "missing":
        return f"{dotted}: missing; add it"
    given = f"{dotted}: {_show(error['input'])} given, wanted {_wanted(root, error, path)}"
    options = choices(_annotation(root, path)) if error["type"] == "literal_error" else []
    if near := difflib.get_close_matches(str(error["input"]), [str(value) for value in options], 1):
        return f"{given}; did you mean {near[0]}?"
    if error["input"] is None and section_of(_annotation(root, path)):
        return f"{given}; remove the empty section, or give it keys"
    if isinstance(error["input"], bool) and error["type"] == "string_type":
        return not_text(dotted, error["input"])
    return given


def not_text(place: str, value: Any) -> str:
    """What is said of a value that should be text; YAML reads some bare words as true or false."""
    return f"{place}: {_show(value)} given, wanted text; {_quote(value)}"


def _wanted(root: type[Section], error: Mapping[str, Any], path: list[str | int]) -> str:
    """What a value should have been."""
    if error["type"] in LIMITS:
        example = "demo" if path[-1] == "run" else "en"
        wanted = LIMITS[error["type"]].format(**error.get("ctx", {}), example=example)
        return wanted.removesuffix("s") if " 1 " in f" {wanted} " else wanted
    annotation = _annotation(root, path)
    if values := choices(annotation):
        return either(map(_show, values))
    return describe(annotation)


def describe(annotation: Any) -> str:
    """What an annotation takes, in words: `a whole number or null`."""
    words = []
    for option in members(annotation):
        if get_origin(option) is tuple:
            words.append("a list")
        elif get_origin(option) is dict or section_of(option):
            words.append("a mapping of keys to values")
        else:
            words.append(TYPES.get(option, "a value of another form"))
    return either(dict.fromkeys(words))


def _path(root: type[Section], loc: Iterable[str | int]) -> list[str | int]:
    """A place without what pydantic adds to it: the names of a union's members."""
    annotation: Any = root
    path: list[str | int] = []
    for part in loc:
        inner = _inside(annotation, part)
        structured = [get_origin(option) in (tuple, dict) for option in members(annotation)]
        if inner is None and isinstance(part, str) and sum(structured) > 1:
            continue
        path.append(part)
        annotation = Any if inner is None else inner
    return path


def _inside(annotation: Any, part: str | int) -> Any:
    """The annotation of a part of a value: a section's key, a list's item, a mapping's value."""
    for option in members(annotation):
        if section := section_of(option):
            names = {field.alias or name: field.annotation for name, field in section.model_fields.items()}
            if part in names:
                return names[str(part)]
        elif get_origin(option) is tuple and isinstance(part, int):
            return get_args(option)[0]
        elif get_origin(option) is dict and isinstance(part, str):
            return get_args(option)[1]
    return None


def _annotation(root: type[Section], path: Iterable[str | int]) -> Any:
    annotation: Any = root
    for part in path:
        annotation = _inside(annotation, part)
    return annotation


def _unknown_key(root: type[Section], path: list[str | int], place: str) -> str:
    """Name the nearest key: a sibling, the same key in another section, one that is spelt nearly so elsewhere."""
    above = _annotation(root, path[:-1])
    section = next(found for option in members(above) if (found := section_of(option)))
    siblings = [field.alias or name for name, field in section.model_fields.items()]
    unknown, prefix = str(path[-1]), f"{_dotted([*([place] if place else []), *path[:-1]])}."
    prefix = "" if prefix == "." else prefix
    near = [prefix + name for name in difflib.get_close_matches(unknown, siblings, 1)]
    everywhere = [key.name for key in keys(root)]
    near = near or [name for name in everywhere if name.rsplit(".", 1)[-1] == unknown]
    last = {name.rsplit(".", 1)[-1]: name for name in everywhere}
    near = near or [last[name] for name in difflib.get_close_matches(unknown, last, 1, cutoff=0.8)]
    remedy = f"did you mean {either(near)}?" if near else f"known here: {', '.join(siblings)}"
    return f"{prefix}{unknown}: no such key; {remedy}"


def _dotted(path: Iterable[str | int]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
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
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last
