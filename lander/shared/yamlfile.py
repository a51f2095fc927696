"""YAML files from anybody: plain values only, read in time and memory that the file's size bounds.

`yaml.safe_load` runs no code. On top of it, this reader refuses duplicate keys (YAML silently takes the last), anchors
that contain themselves or expand beyond all bounds, very deep nesting, numbers to base 60 (1:30 is 90 in YAML 1.1) and
text that no file can hold.
"""

from pathlib import Path
from typing import Any

import yaml

from lander.shared.errors import UserError, brief

NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
MERGE = "tag:yaml.org,2002:merge"
DEEPEST = 50  # lists and mappings inside each other
MOST_VALUES = 200_000  # with all aliases expanded
LARGEST = 20_000_000  # bytes


def read_yaml(path: str | Path, absent: str = "no such file") -> Any:
    """The value in a YAML file. UserError for any fault; `absent` is what to say if there is no file."""
    try:
        if Path(path).is_fifo():  # Snakemake and Lander both read a config; the second would wait for ever
            raise UserError(f"{path}: a pipe, which can be read only once; write it to a file")
        with open(path, "rb") as stream:
            data = stream.read(LARGEST + 1)
    except FileNotFoundError:
        raise UserError(f"{path}: {absent}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if len(data) > LARGEST:
        raise UserError(f"{path}: more than {LARGEST:,} bytes; is it the right file?")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: cannot be read as YAML: not valid UTF-8 ({error}); save it as UTF-8") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, where: str) -> Any:
    """The value of a YAML text; `where` is its name in messages."""
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node, where, {}, [])
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise UserError(f"{where}: cannot be read as YAML: {brief(error)}") from None
    except RecursionError:
        raise UserError(f"{where}: cannot be read as YAML: too many lists or mappings inside each other") from None
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:  # `2024-13-45`, `!!bool maybe`
        reason = f"a value does not fit its type, {brief(error)}"
        raise UserError(f"{where}: cannot be read as YAML: {reason}; write it in quotes") from None


def _check(node: yaml.Node, where: str, sizes: dict[int, int], above: list[yaml.Node]) -> int:
    """The number of values in a node, aliases expanded; refuses what the module's docstring names.

    Args:
        sizes: id of a finished node -> its number of values.
        above: the nodes that contain this one.
    """
    if id(node) in sizes:
        return sizes[id(node)]
    place = f"{where}, line {node.start_mark.line + 1}"
    if any(node is other for other in above):
        raise UserError(f"{place}: an anchor that contains itself; write the values out")
    if len(above) > DEEPEST:
        raise UserError(f"{place}: more than {DEEPEST} lists or mappings inside each other")
    if isinstance(node, yaml.ScalarNode):
        if node.tag in NUMBERS and ":" in node.value:
            raise UserError(f"{place}: YAML reads {node.value} as a number to base 60; write the number, or quote it")
        if any("\ud800" <= char <= "\udfff" for char in node.value):
            raise UserError(f"{place}: half of a character (a lone surrogate, \\ud...); write the character itself")
        return 1
    children = node.value
    if isinstance(node, yaml.MappingNode):
        children = [child for pair in node.value for child in pair]
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == MERGE:
                continue
            line = key.start_mark.line + 1
            if first := lines.get((key.tag, key.value)):
                raise UserError(
                    f"{where}, line {line}: the key {key.value!r} is there already (line {first}); remove one"
                )
            lines[key.tag, key.value] = line
    above.append(node)
    size = 1 + sum(_check(child, where, sizes, above) for child in children)
    above.pop()
    if size > MOST_VALUES:
        raise UserError(f"{place}: more than {MOST_VALUES:,} values with all aliases expanded; the file is refused")
    sizes[id(node)] = size
    return size
