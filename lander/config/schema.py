"""What is made from the declarations of the keys: the JSON schema, and a file that shows every key with its default.

    python -m lander.config.schema    writes workflow/schemas/config.schema.yaml and config/defaults.yaml

Editors read the schema; people read the defaults. tests/config/test_config.py fails if a file is not what is written
here. docs/make_reference.py makes the reference page from the same keys.
"""

import textwrap
from typing import Any

import yaml
from pydantic_core import to_jsonable_python

from lander.config.config import EXAMPLES, READINGS, Config
from lander.shared.files import shipped, write_text
from lander.shared.section import Key, keys

SCHEMA, DEFAULTS = "workflow/schemas/config.schema.yaml", "config/defaults.yaml"
WIDTH = 120


def schema_text() -> str:
    """The JSON schema of a config file, as YAML."""
    made = _plain(Config.model_json_schema(by_alias=True))
    for section, switches in READINGS["paper"].items():
        for name in switches:
            del made["$defs"][section.capitalize()]["properties"][name]["default"]  # `readings` decides
    for node in (made, made["$defs"]["Model"]):  # several files may make a config together
        del node["required"]
    head = "# The JSON schema of a config file. Made by `python -m lander.config.schema`: edit lander/config/ instead."
    return f"{head}\n{yaml.safe_dump(made, sort_keys=False, allow_unicode=True, width=WIDTH)}"


def _plain(node: Any) -> Any:
    """A schema without the titles that pydantic makes of names, and with each text on one line."""
    match node:
        case str():
            return " ".join(node.split())
        case list():
            return [_plain(item) for item in node]
        case dict():  # a property may be called `title`
            return {key: _plain(item) for key, item in node.items() if not (key == "title" and isinstance(item, str))}
    return node


def defaults_text() -> str:
    """Every key with its description and its default, as a YAML file to copy lines from.

    Keys that a run must name, and the switches that `readings` sets, are commented out.
    """
    lines = [
        "# Every key of the config with its default. Made by `python -m lander.config.schema` from lander/config/.",
        "# Lander does not read this file; a config needs only the keys that differ.",
    ]
    for key in keys(Config):
        *above, name = key.name.split(".")
        indent = "  " * len(above)
        about = " ".join([key.about, *(f"{which}: {value}." for which, value in key.readings.items())])
        lines += [] if above else [""]
        lines += textwrap.wrap(f"# {about}", WIDTH, initial_indent=indent, subsequent_indent=f"{indent}# ")
        if key.section:
            bare = all(inner.readings for inner in keys(key.section))  # an empty section would be refused
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


if __name__ == "__main__":
    write_text(shipped(SCHEMA), schema_text())
    write_text(shipped(DEFAULTS), defaults_text())
