"""What is made from the declarations of the keys: the JSON schema, and a file that shows every key with its default.

    python -m lander.config.schema    writes workflow/schemas/config.schema.yaml and config/defaults.yaml

Editors read the schema; people read the defaults. tests/config/test_config.py fails if a file is not what is written
here. docs/make_reference.py makes the reference page from the same keys.
"""

import textwrap
from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml
from pydantic_core import to_jsonable_python

from lander.config.config import EXAMPLES, Config
from lander.shared import section
from lander.shared.files import shipped, write_text
from lander.shared.section import Key

SCHEMA, DEFAULTS = "workflow/schemas/config.schema.yaml", "config/defaults.yaml"
WIDTH = 120


def all_keys() -> Iterator[Key]:
    """Every key of the config, dotted; a section comes before what is in it."""
    yield from section.keys(Config)


@cache
def choices(name: str) -> list[str]:
    """The values of a key that has a fixed set of them, by its dotted name."""
    return section.choices(next(key for key in all_keys() if key.name == name).field.annotation)


def schema_text() -> str:
    """The JSON schema of a config file, as YAML."""
    head = (
        "# The JSON schema of a config file. Made by `python -m lander.config.schema`: edit lander/config/ instead.\n"
    )
    made = _without(Config.model_json_schema(by_alias=True), "title")
    for switch in (key for key in all_keys() if key.readings):
        node = made["$defs"][switch.name.split(".")[0].capitalize()]["properties"][switch.name.split(".")[1]]
        del node["default"]  # `readings` decides
    for node in (made, made["$defs"]["Model"]):  # several files may make a config together
        del node["required"]
    return head + yaml.safe_dump(made, sort_keys=False, allow_unicode=True, width=WIDTH)


def _without(node: Any, name: str) -> Any:
    """A schema without the titles that pydantic makes of names; properties may be called so."""
    if isinstance(node, list):
        return [_without(item, name) for item in node]
    if not isinstance(node, dict):
        return node
    return {key: _without(item, name) for key, item in node.items() if not (key == name and isinstance(item, str))}


def defaults_text() -> str:
    """Every key with its description and its default, as a YAML file to copy lines from.

    Keys that a run must name, and the switches that `readings` sets, are commented out.
    """
    lines = [
        "# Every key of the config with its default. Made by `python -m lander.config.schema` from lander/config/.",
        "# Lander does not read this file; a config needs only the keys that differ.",
    ]
    for key in all_keys():
        *above, name = key.name.split(".")
        indent = "  " * len(above)
        about = " ".join([key.about, *(f"{which}: {value}." for which, value in key.readings.items())])
        lines += [] if above else [""]
        lines += textwrap.wrap(f"# {about}", WIDTH, initial_indent=indent, subsequent_indent=f"{indent}# ")
        if key.section:
            bare = all(inner.readings for inner in section.keys(key.section))  # an empty section would be refused
            lines.append(f"{indent}{'# ' if bare else ''}{name}:")
        elif key.name in EXAMPLES:
            lines.append(f"{indent}# {name}: ..." if above else f"# {EXAMPLES[key.name]}")
        else:
            lines.append(f"{indent}{'# ' if key.readings else ''}{name}: {default_text(key)}")
    return "\n".join(lines) + "\n"


def default_text(key: Key) -> str:
    """A key's default in YAML, on one line."""
    value = to_jsonable_python(key.field.default)
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def main() -> None:
    """Write both files."""
    write_text(shipped(SCHEMA), schema_text())
    write_text(shipped(DEFAULTS), defaults_text())


if __name__ == "__main__":
    main()
