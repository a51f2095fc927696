"""Sections: typed groups of settings, declared once, that the config, the stages' flags and the reference are made of.

A section is a frozen pydantic model in which unknown keys are errors. Each field has a type, a default, limits and a
description. From these follow

    the config       `lander.config.config.Config` is a section of sections
    the flags        `add_flags(parser, Layers, "k", "side")` adds --k and --side, with choices, defaults and help
    what rules pass  `flags(settings.layers, "k", "side")`  ->  ["--k", "4", "--side", "upper"]
    the reference    `keys(Config)` has every key with its description (docs/make_reference.py)

`lander.shared.validation` turns raw values into a section and words its errors.
"""

import argparse
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo


class Section(BaseModel):
    """Base of all sections. Values have exactly the declared types: nothing is converted in silence."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """A copy with some values changed, at any depth; keys are those of the config file.

        The new values are not validated: they come from Lander's own tables of variants.
        """
        update = {}
        for key, value in changes.items():
            name = field_name(type(self), key)
            now = getattr(self, name)
            update[name] = now.changed(value) if isinstance(now, Section) and isinstance(value, Mapping) else value
        return self.model_copy(update=update)


def switch(description: str, *, repaired: Any, paper: Any) -> Any:
    """A field on which the paper can be read in two ways: its value in each set of `readings`."""
    return Field(default=repaired, description=description, json_schema_extra={"repaired": repaired, "paper": paper})


@dataclass(frozen=True)
class Key:
    """One key of a section of sections: its dotted name, its field, and the section that it is, if it is one."""

    name: str
    field: FieldInfo
    section: type[Section] | None

    @property
    def readings(self) -> Mapping[str, Any]:
        """Reading -> value, of a switch; empty for other keys."""
        extra = self.field.json_schema_extra
        return extra if isinstance(extra, dict) and "paper" in extra else {}


def keys(section: type[Section], prefix: str = "") -> Iterator[Key]:
    """Every key below a section, dotted; a section comes before what is in it."""
    for name, field in section.model_fields.items():
        inner = section_of(field.annotation)
        dotted = f"{prefix}{field.alias or name}"
        yield Key(dotted, field, inner)
        if inner:
            yield from keys(inner, f"{dotted}.")


def section_of(annotation: Any) -> type[Section] | None:
    """The section that an annotation is, None for anything else."""
    return annotation if isinstance(annotation, type) and issubclass(annotation, Section) else None


def field_name(section: type[Section], key: str) -> str:
    """Name of the attribute that a key of the config file is, as `landermt_lg` for landermt-lg.

    Raises:
        KeyError: no such key.
    """
    for name, field in section.model_fields.items():
        if key in (field.alias or name, name):
            return name
    raise KeyError(key)


def members(annotation: Any) -> tuple[Any, ...]:
    """The types of a union, Annotated unpacked; any other annotation alone."""
    if get_origin(annotation) is Annotated:
        return members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(part for option in get_args(annotation) for part in members(option))
    return (annotation,)


def choices(annotation: Any) -> list[Any]:
    """The values of a Literal, also inside a union; empty where there is no fixed set."""
    return [value for part in members(annotation) if get_origin(part) is Literal for value in get_args(part)]


# ---------------------------------------------------------------- flags


def add_flags(parser: argparse.ArgumentParser, section: type[Section], *names: str, prefix: str = "") -> None:
    """Add a flag per field: `batch_size` becomes --batch-size, with the field's choices, limits, default and help.

    Args:
        names: which fields; none given is all.
        prefix: before the name of each flag, as in --lora-rank.
    """
    for name in names or section.model_fields:
        field = section.model_fields[name]
        options: dict[str, Any] = {"default": field.default, "help": _help(field)}
        kind = members(field.annotation)[0]
        if kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif get_origin(kind) is tuple:
            options |= {"nargs": "*", "type": partial(_read, section, name, get_args(kind)[0])}
        elif values := choices(field.annotation):
            options |= {"choices": values, "type": type(values[0])}
        else:
            options["type"] = partial(_read, section, name, kind)
        parser.add_argument(f"--{prefix}{name.replace('_', '-')}", **options)


def flags(section: Section, *names: str) -> list[str]:
    """A section's values as the flags of `add_flags`; what is None is left out.

    Args:
        names: which fields; none given is all.
    """
    found: list[str] = []
    for name in names or type(section).model_fields:
        value, flag = getattr(section, name), name.replace("_", "-")
        if isinstance(value, bool):
            found.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, tuple):
            found += [f"--{flag}", *map(str, value)]
        elif value is not None:
            found += [f"--{flag}", str(value)]
    return found


def names_of(section: type[Section], *left_out: str) -> list[str]:
    """Names of the fields of a section but some."""
    return [name for name in section.model_fields if name not in left_out]


def settings(section: type[Section], args: argparse.Namespace) -> Any:
    """The section with the values of a command line; fields that have no flag keep their defaults."""
    given = {name: getattr(args, name) for name in section.model_fields if hasattr(args, name)}
    return section(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


def _help(field: FieldInfo) -> str:
    default = "" if field.is_required() or field.default is None else f" (default: {field.default})"
    return f"{field.description}{default}".replace("%", "%%")


def _read(section: type[Section], name: str, kind: Any, text: str) -> Any:
    """One value from the command line, checked against its field's limits."""
    from lander.shared.validation import problem  # the words of errors: only where there is a command line

    kind = members(kind)[0]
    try:
        value = kind(text) if kind in (int, float) else text
    except ValueError:
        value = text
    field = section.model_fields[name]
    several = get_origin(members(field.annotation)[0]) is tuple
    if wrong := problem(section, name, (value,) if several else value):
        raise argparse.ArgumentTypeError(wrong)
    return value
