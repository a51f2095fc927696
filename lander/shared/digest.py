"""Digest of the code that a stage runs: its module and all modules of Lander that it imports, at any depth.

Snakemake does not look into `python -m lander.x`: each rule carries this digest as a parameter, so that editing a
stage's code runs that stage again, and what follows. Comments, docstrings and layout do not count.

What is imported is read from the source, wherever the import stands; nothing is executed. Packages above a module are
run by Python on import: their statements count, the functions that they define do not.

    code_digest("lander.detect.layers")  ->  "4f0c..."
"""

import ast
import hashlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from lander.shared.files import read_json, write_json

PACKAGE = Path(__file__).parents[1]
ASSETS = (".html", ".css", ".js")
ENTRY = re.compile(r"[\w.]+:\w+")
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@cache
def code_digest(module: str) -> str:
    """Hex digest (16 characters) of a module's code and of what it imports from Lander.

    Args:
        module: dotted name, as after `python -m`; a package stands for its `__main__` as well.
    Raises:
        ValueError: no such module.
    """
    if _file(module) is None:
        raise ValueError(f"no module {module}")
    start = [module, f"{module}.__main__"] if _file(f"{module}.__main__") else [module]
    digest = hashlib.sha256()
    for name, whole in sorted(_reachable(start).items()):
        digest.update(f"{name}\n{_code(name, whole)}\n".encode())
        if whole:
            digest.update(_assets(name))
    return digest.hexdigest()[:16]


def recorded_digest(module: str, ledger: Path) -> str:
    """The digest that a ledger has for a module; the code's own where it has none."""
    return _read_ledger(ledger).get(module) or code_digest(module)


def record_digests(modules: list[str], ledger: Path, *, keep: bool) -> None:
    """Write the modules' digests into a ledger. `keep`: leave those that are there already."""
    old = _read_ledger(ledger)
    new = {module: code_digest(module) for module in modules}
    digests = {**new, **old} if keep else {**old, **new}
    if digests != old:
        write_json(ledger, dict(sorted(digests.items())))


def _read_ledger(ledger: Path) -> dict[str, str]:
    return read_json(ledger) if ledger.is_file() else {}


def _reachable(start: list[str]) -> dict[str, bool]:
    """Modules that run: name -> whether as a whole (True), or only the statements of a package's `__init__`."""
    found: dict[str, bool] = {}
    waiting = [(name, True) for name in start]
    while waiting:
        name, whole = waiting.pop()
        if found.get(name) or (name in found and not whole):
            continue
        found[name] = whole
        waiting += [(imported, True) for imported in _imports(name, whole)]
        if parent := name.rpartition(".")[0]:
            waiting.append((parent, False))
    return found


@cache
def _imports(module: str, whole: bool) -> tuple[str, ...]:
    """Modules of Lander that a module names in its import statements, or as text: "lander.module:function"."""
    found: list[str] = []
    for node in _nodes(_tree(module), whole):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and ENTRY.fullmatch(node.value):
            found.append(node.value.partition(":")[0])
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(module, node)
            members = [f"{origin}.{alias.name}" for alias in node.names]
            modules = [member for member in members if _file(member)]
            found += modules
            if len(modules) < len(members):  # something is taken from the package or module itself
                found.append(origin)
    return tuple(name for name in found if name.split(".")[0] == PACKAGE.name and _file(name))


def _origin(module: str, node: ast.ImportFrom) -> str:
    """Absolute name of what a `from ... import` takes from."""
    if not node.level:
        return node.module or ""
    is_package = _file(module).name == "__init__.py"
    parts = module.split(".")
    base = parts[: len(parts) - node.level + is_package]
    return ".".join([*base, *([node.module] if node.module else [])])


def _nodes(tree: ast.Module, whole: bool) -> Iterator[ast.AST]:
    """All nodes that run: `if TYPE_CHECKING` is for readers and type checkers only."""
    waiting: list[ast.AST] = [part for part in tree.body if whole or not isinstance(part, DEFINITIONS)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            waiting += node.orelse
            continue
        yield node
        waiting += ast.iter_child_nodes(node)


@cache
def _code(module: str, whole: bool) -> str:
    """Normal form of the source: no comments, no docstrings, one layout."""
    tree = _tree(module)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, *DEFINITIONS)):
            node.body = [statement for statement in node.body if not _is_text(statement)]
    return "\n".join(ast.unparse(part) for part in tree.body if whole or not isinstance(part, DEFINITIONS))


def _assets(module: str) -> bytes:
    """Contents of a package's files that are code without being Python: pages and styles."""
    file = _file(module)
    files = sorted(file.parent.iterdir()) if file.name == "__init__.py" else []
    return b"".join(path.read_bytes() for path in files if path.suffix in ASSETS)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _tree(module: str) -> ast.Module:
    return ast.parse(_file(module).read_bytes())


@cache
def _file(module: str) -> Path | None:
    """Source file of a module of Lander, or None."""
    first, *parts = module.split(".")
    if first != PACKAGE.name:
        return None
    path = PACKAGE.joinpath(*parts)
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)
