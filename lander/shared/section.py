"""Sections: typed groups of settings, declared once, that the config, the stages' flags and the reference are made of.

A section is a frozen pydantic model in which unknown keys are errors. Each field has a type, a default, limits and,
in the docstring below it, a description. From these follow

    the config       `lander.config.config.Config` is a section of sections
    the flags        `add_flags(parser, Layers, "k", "side")` adds --k and --side, with choices, defaults and help
    their values     `settings(Layers, parser.parse_args())` is the section again
    what rules pass  `flags(settings.layers, "k", "side")`  ->  ["--k", "4", "--side", "upper"]
    the reference    `keys(Config)` has every key with its description (docs/make_reference.py)

`lander.shared.validation` turns raw values into a section and words its errors.
"""

import argparse
import os
import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

Text = Annotated[str, Field(min_length=1)]
PLACEHOLDER = re.compile(r"\{\s*\w+\s*[,}]|<\w+>")  # in the path of a rule's file, Snakemake puts a value in its place


def unusable(path: str) -> str:
    """Why Snakemake would not take a path as it is; empty if it does."""
    found = PLACEHOLDER.search(path)
    what = f"{path}: Snakemake would put a value in place of {found[0]}" if found else ""
    return what and f"{what}; rename it, or make a link to it under another name"


def _as_path(path: str) -> str:
    """A path that begins with ~ is in a home directory; one that begins with a dash would be a stage's flag."""
    if fault := unusable(path):
        raise ValueError(fault)
    path = os.path.expanduser(path)
    return f"./{path}" if path.startswith("-") else path


PathText = Annotated[Text, AfterValidator(_as_path)]


def _distinct(values: tuple) -> tuple:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ValueError(f"{value} is there twice; remove one")
    return values


Distinct = AfterValidator(_distinct)  # of a list: no value twice


class Section(BaseModel):
    """Base of all sections. Values have exactly the declared types: nothing is converted in silence."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    @classmethod
    def annotations(cls) -> dict[str, Any]:
        """Key of the config file -> type."""
        return {field.alias or name: field.annotation for name, field in cls.model_fields.items()}

    @model_validator(mode="before")
    @classmethod
    def _known(cls, values: Any) -> Any:
        """Refuse unknown keys before anything else: a value may be missing only because its key is misspelt."""
        known = list(cls.annotations())
        for key in values if isinstance(values, Mapping) else ():
            if key not in known:
                raise PydanticCustomError("unknown_key", "no such key", {"key": key, "known": known})
        return values

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """A copy with some values changed, at any depth; keys are those of the config file.

        The new values are not validated: they come from Lander's own tables of variants.
        """
        update = {}
        for key, value in changes.items():
            name = key.replace("-", "_")
            now = getattr(self, name)
            update[name] = now.changed(value) if isinstance(now, Section) and isinstance(value, Mapping) else value
        return self.model_copy(update=update)


def switch(*, repaired: Any, paper: Any) -> Any:
    """A field on which the paper can be read in two ways: its value in each set of `readings`."""
    return Field(default=repaired, json_schema_extra={"repaired": repaired, "paper": paper})


@dataclass(frozen=True)
class Key:
    """One key of a section of sections: its dotted name, its field, and the section that it is, if it is one."""

    name: str
    field: FieldInfo
    section: type[Section] | None

    @property
    def readings(self) -> Mapping[str, Any]:
        """Reading -> value, of a switch; empty for other keys."""
        return self.field.json_schema_extra or {}

    @property
    def about(self) -> str:
        """What the key is, on one line; a section says it in its docstring."""
        return " ".join((self.field.description or (self.section and self.section.__doc__) or "").split())


def keys(section: type[Section], prefix: str = "") -> Iterator[Key]:
    """Every key below a section, dotted; a section comes before what is in it."""
    for name, field in section.model_fields.items():
        key = Key(f"{prefix}{field.alias or name}", field, section_of(field.annotation))
        yield key
        if key.section:
            yield from keys(key.section, f"{key.name}.")


def section_of(annotation: Any) -> type[Section] | None:
    """The section that an annotation is, None for anything else."""
    return annotation if isinstance(annotation, type) and issubclass(annotation, Section) else None


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


def items(annotation: Any) -> Any:
    """The type of a list's items; None for what is no list."""
    return next((get_args(part)[0] for part in members(annotation) if get_origin(part) is tuple), None)


# ---------------------------------------------------------------- flags


def add_flags(parser: argparse.ArgumentParser, section: type[Section], *names: str, prefix: str = "") -> None:
    """Add a flag per field: `batch_size` becomes --batch-size, with the field's choices, limits, default and help.

    Args:
        names: which fields; none given is all.
        prefix: before the name of each flag, as in --lora-rank.
    """
    for name in names or section.model_fields:
        field = section.model_fields[name]
        shown = "" if field.is_required() or field.default is None else f" (default: {field.default})"
        options: dict[str, Any] = {"default": field.default, "help": f"{field.description}{shown}".replace("%", "%%")}
        if bool in members(field.annotation):
            options["action"] = argparse.BooleanOptionalAction
        else:
            options["type"] = partial(_value, section, name)
            options |= {"choices": found} if (found := choices(field.annotation)) else {}
            options |= {"nargs": "*"} if items(field.annotation) else {}
        parser.add_argument(f"--{prefix}{name.replace('_', '-')}", **options)


def _value(section: type[Section], name: str, text: str) -> Any:
    """A value from the command line (one item of a list), checked against its field's limits."""
    from lander.shared.validation import problem, read_words  # only where there is a command line

    field = section.model_fields[name]
    annotation = items(field.annotation) or Annotated[field.annotation, field]
    value = read_words(text, annotation)
    if wrong := problem(annotation, value):
        raise argparse.ArgumentTypeError(wrong)
    return value


def flags(section: Section, *names: str) -> list[str]:
    """A section's values as the flags of `add_flags`, of all fields or some; what is None is left out."""
    found: list[str] = []
    for name in names or type(section).model_fields:
        value, flag = getattr(section, name), name.replace("_", "-")
        if isinstance(value, bool):
            found.append(f"--{flag}" if value else f"--no-{flag}")
        elif value is not None:
            found += [f"--{flag}", *map(str, value if isinstance(value, tuple) else [value])]
    return found


def names_of(section: type[Section], *left_out: str) -> list[str]:
    """Names of the fields of a section but some."""
    return [name for name in section.model_fields if name not in left_out]


def settings(section: type[Section], args: argparse.Namespace, prefix: str = "") -> Any:
    """The section with the values of a command line; fields that have no flag keep their defaults."""
    flag = {name: f"{prefix.replace('-', '_')}{name}" for name in section.model_fields}
    given = {name: getattr(args, flag[name]) for name in flag if hasattr(args, flag[name])}
    return section(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})
