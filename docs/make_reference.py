"""Write docs/reference/: every key of the config, every flag of every command, every column of every table.

Read from the schema of the config, from the parsers of the commands and from `lander.shared.tables`, so that the pages
cannot say anything else; `tests/test_docs.py` fails where they are stale.

    python -m docs.make_reference
"""

import argparse
import contextlib
import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin
from unittest import mock

import pyarrow as pa
import yaml
from annotated_types import Ge, Gt, Le, Lt

from lander import cli
from lander.config import schema
from lander.config.config import EXAMPLES, Config
from lander.data.sources import Source
from lander.shared import section, tables
from lander.shared.section import Key

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "reference"
MADE = "<!-- Made by `python -m docs.make_reference`; edit what it reads, not this page. -->"


def pages() -> dict[str, str]:
    """Name of a page in docs/reference -> its text."""
    return {"config.md": config_page(), "commands.md": commands_page(), "files.md": files_page()}


def main() -> None:
    """Write all pages."""
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"docs/reference/{name}")


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table; bars inside cells are escaped."""
    lines = [head, ("---",) * len(head), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def code(value: Any) -> str:
    """A value as YAML writes it, in code type."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    text = text.removesuffix("...\n").strip()
    return f"`{text}`"


# ------------------------------------------------------------ the config

CONFIG_INTRO = """\
A config file holds the keys that differ from the defaults below; [config/defaults.yaml](../../config/defaults.yaml) has
them as a file to copy from. With several files mappings merge and lists replace. An unknown key is refused. Keys with
*readings* as their default are the switches between two readings of the paper ([method](../method.md)): the key
[`readings`](#top-level) sets them all, and a single one overrides it.
"""
SOURCE_INTRO = """\
A key that takes sources takes a list of mappings, each with exactly one of `builtin`, `files`, `tsv`, `tmx`, `hf` and
`sacrebleu`, and the keys that belong to it. [Your own text](../own-text.md) has examples.
"""
THRESHOLDS_INTRO = """\
Keys below `data.cleaning.default`, and in the same form below `data.cleaning.languages.<code>` for one language.
"""
KINDS = {str: "text", int: "whole number", float: "number", bool: "true or false", tuple: "list"}
BOUNDS = {Ge: "from {0.ge}", Gt: "above {0.gt}", Le: "up to {0.le}", Lt: "below {0.lt}"}
CLEANING = "data.cleaning.default."


def config_page() -> str:
    """All keys of the config, a table per section."""
    found = list(section.keys(Config))
    sections: dict[str, list[Key]] = {"Top level": []}
    for key in found:
        if not key.section and not key.name.startswith(CLEANING):
            sections.setdefault(key.name.split(".")[0] if "." in key.name else "Top level", []).append(key)
    about = {key.name: key.about for key in found if key.section}
    text = [f"# Keys of the config\n\n{MADE}\n\n{CONFIG_INTRO}"]
    for name, keys in sections.items():
        rows = [(f"`{key.name}`", key.about, values(key), default(key)) for key in keys]
        head = f"## {name}\n\n{about[name]}\n" if name in about else f"## {name}\n"
        text.append(f"{head}\n{table(('key', 'meaning', 'value', 'default'), rows)}\n")
    rows = [(f"`{key.name}`", key.about, values(key)) for key in section.keys(Source)]
    text.append(f"## Sources\n\n{SOURCE_INTRO}\n{table(('key', 'meaning', 'value'), rows)}\n")
    rows = [
        (f"`{key.name.removeprefix(CLEANING)}`", key.about, values(key), default(key))
        for key in found
        if key.name.startswith(CLEANING) and not key.section
    ]
    text.append(
        f"## Thresholds of cleaning\n\n{THRESHOLDS_INTRO}\n{table(('key', 'meaning', 'value', 'default'), rows)}\n"
    )
    return "\n".join(text)


def values(key: Key) -> str:
    """What a key takes: its choices, or its type with the limits."""
    return takes(key.field.annotation, key.field.metadata)


def takes(annotation: Any, metadata: Sequence[Any]) -> str:
    """What an annotation takes; pydantic keeps the limits in the metadata."""
    types = [one for one in section.members(annotation) if one is not type(None)]
    null = ", or null" if type(None) in section.members(annotation) else ""
    if options := section.choices(annotation):
        return ", ".join(code(value) for value in options)
    inner = section.items(annotation)
    if inner and section.section_of(inner) is Source:
        return f"list of [sources](#sources){null}"
    if inner and section.choices(inner):
        return f"list of {takes(inner, ())}{null}"
    if inner and get_origin(inner) is Annotated and {int, float} & set(section.members(inner)):
        of_items = takes(inner, get_args(inner)[1].metadata).removesuffix(", or null")
        return f"list of {of_items.replace('number', 'numbers')}{null}"
    kinds = " or ".join(KINDS.get(get_origin(one) or one, "mapping of keys to values") for one in types)
    limits = [text.format(bound) for bound in metadata for kind, text in BOUNDS.items() if type(bound) is kind]
    return " ".join([kinds, *limits]) + null


def default(key: Key) -> str:
    """A key's default; of a switch what each set of readings gives it."""
    if key.readings:
        return "readings: " + ", ".join(f"{code(value)} ({which})" for which, value in key.readings.items())
    return "must be given" if key.field.is_required() or key.name in EXAMPLES else f"`{schema.default_text(key)}`"


# ------------------------------------------------------------ the commands

COMMANDS_INTRO = """\
`lander` is the command for users. A stage is a module that the workflow runs; by hand it works in the same way, with
the files that it names as input. `lander COMMAND --help` and `python -m MODULE --help` say what stands here.

The workflow itself is Snakemake's command line; [the README](../../README.md#experiments) has its targets.
"""


def commands_page() -> str:
    """All flags of `lander` and of the stages."""
    parser = cli.PARSER
    parts = [f"# Commands\n\n{MADE}\n\n{COMMANDS_INTRO}", "## lander\n", parser.description + "\n"]
    for name, summary, one in subcommands(parser):
        parts.append(f"### lander {name}\n\n{one.description or summary}\n\n{flag_table(one)}\n")
    for module, stage in sorted(stage_parsers().items()):
        parts.append(f"## python -m {module}\n\n```text\n{docstring(module)}\n```\n")
        if list(stage_flags(stage)):
            parts.append(f"{flag_table(stage)}\n")
        for name, summary, one in subcommands(stage):
            parts.append(f"### {module} {name}\n\n{sentence(summary)}\n\n{flag_table(one)}\n")
    return "\n".join(parts)


def stage_parsers() -> dict[str, argparse.ArgumentParser]:
    """Module that can be run -> its parser, as its `main` makes it; `lander` itself is not among them."""
    found = {}
    for path in sorted((ROOT / "lander").rglob("*.py")):
        if '\nif __name__ == "__main__":' in path.read_text(encoding="utf-8") and path.stem != "cli":
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            if parser := parser_of(module):
                found[module.removesuffix(".__main__")] = parser
    return found


class _Caught(Exception):
    """Carries the parser out of a `main`."""


def parser_of(module: str) -> argparse.ArgumentParser | None:
    """The parser that a module's `main` reads its flags with, taken at the moment when it would read them."""

    def catch(parser: argparse.ArgumentParser, *_args: Any, **_options: Any) -> None:
        raise _Caught(parser)

    entry = getattr(importlib.import_module(module), "main", None)
    if entry is None:  # not a command for people
        return None
    with mock.patch.object(argparse.ArgumentParser, "parse_args", catch), contextlib.suppress(SystemExit):
        try:
            entry()
        except _Caught as caught:
            return caught.args[0]
    return None


def docstring(module: str) -> str:
    """What a stage module says of itself."""
    found = importlib.import_module(module).__doc__
    if not found or "\n" not in found.strip():  # a package whose __main__ has the text
        with contextlib.suppress(ModuleNotFoundError):
            found = importlib.import_module(f"{module}.__main__").__doc__
    return (found or "").strip()


def subcommands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Name, summary and parser of each subcommand."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            summaries = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, one in action.choices.items():
                yield name, summaries.get(name, ""), one


def stage_flags(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The arguments of a parser, but for --help and --version, and for its subcommands."""
    left_out = (argparse._HelpAction, argparse._VersionAction, argparse._SubParsersAction)
    return (action for action in parser._actions if not isinstance(action, left_out))


def flag_table(parser: argparse.ArgumentParser) -> str:
    """The arguments of a command; it has none: an empty text."""
    rivals = {id(one): group for group in parser._mutually_exclusive_groups for one in group._group_actions}
    rows = [
        (f"`{argument(one)}`", explained(parser, one), needed(one, rivals.get(id(one)))) for one in stage_flags(parser)
    ]
    return table(("argument", "meaning", "default"), rows) if rows else "No flags."


def argument(action: argparse.Action) -> str:
    """A flag with the name or the choices of its value; a positional argument by its name."""
    name = action.option_strings[-1] if action.option_strings else ""
    if action.nargs == 0:
        return name
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    value = " ".join(value) if isinstance(value, tuple) else value
    several = {"+": f"{value} ...", "*": f"[{value} ...]", "?": f"[{value}]"}
    return f"{name} {several.get(action.nargs, value)}".strip()


def explained(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """The help of an argument, its placeholders filled in, as a cell."""
    if action.help in (None, argparse.SUPPRESS):
        return ""
    text = parser._get_formatter()._expand_help(action)
    return " ".join(text.split()).replace("<", "&lt;").replace("*", "\\*")


def needed(action: argparse.Action, rivals: Any) -> str:
    """Whether an argument has to be given, else its default."""
    if rivals is not None:
        names = " or ".join(f"`{one.option_strings[-1]}`" for one in rivals._group_actions)
        return f"{'one of' if rivals.required else 'at most one of'} {names}"
    if action.required:
        return "required"
    empty = action.default in (None, False, argparse.SUPPRESS) or action.default in ("", [], {}, ())
    said = "(default: " in (action.help or "") or "(default)" in (action.help or "").replace("%(default)", "")
    return "" if empty or said else f"`{shown(action.default)}`"


def shown(value: Any) -> str:
    """A default as it is typed."""
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def sentence(text: str) -> str:
    """A summary with a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


# ------------------------------------------------------------ the files

FILES_INTRO = """\
The columns of every Parquet table below `results/<run>/`, as they are checked on write and on read. Other programs may
write them too: a table is what has these columns. [Reading the tables](../tables.md) has examples.
"""
PLACES = {
    "clean": ("data/clean/<pair>.parquet",),
    "train": ("data/s<seed>/train/<direction>.parquet",),
    "heldout": ("data/dev/<direction>.parquet", "data/test/<test>/<direction>.parquet"),
    "text": ("data/s<seed>/text/<language>.parquet",),
    "counts": ("data/s<seed>/counts.parquet",),
    "activations": ("activations/s<seed>/<direction>.parquet",),
    "layers": ("layers/<variant>/s<seed>/layers.parquet",),
    "awareness": ("awareness/s<seed>/<language>.parquet",),
    "awareness_parts": ("awareness_parts/s<seed>/<language>.parquet",),
    "neurons": ("neurons/<variant>/s<seed>/neurons.parquet",),
    "masks": ("masks/<variant>/s<seed>/<direction>.parquet",),
    "segments": ("evaluate/<method>/<variant>/s<seed>/<test>/<direction>.segments.parquet",),
    "scores": ("evaluate/scores.parquet",),  # where `lander.evaluate collect --parquet` is asked for it
}


def files_page() -> str:
    """All tables and their columns."""
    parts = [f"# Columns of the tables\n\n{MADE}\n\n{FILES_INTRO}"]
    for name, columns in tables.SCHEMAS.items():
        files = ", ".join(f"`{place}`" for place in PLACES.get(name, ()))
        rows = table(("column", "type", "meaning"), columns_of(columns))
        parts.append(f"## {name}\n\n{files}\n\n{rows}\n")
    return "\n".join(parts)


def columns_of(columns: pa.Schema) -> list[tuple[str, ...]]:
    """Name, type and meaning of each column; where a value may be missing, that is said."""
    return [
        (f"`{one.name}`", f"{one.type}{', may be null' if one.nullable else ''}", one.metadata[b"meaning"].decode())
        for one in columns
    ]


if __name__ == "__main__":
    main()
