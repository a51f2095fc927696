"""Digest of the code that a stage runs: its module and all modules of Lander that it imports, at any depth.

Snakemake does not look into `python -m lander.x`. Each rule therefore carries this digest as a parameter, so that a
change of a stage's code reruns the stage and what follows. Comments, docstrings and layout do not count.

Imports (absolute ones) are read from the source, wherever they are; nothing is executed. Python also runs the packages
above a module: their statements count, the functions that they define do not. The data files (pages, YAML, JSON) of a
folder count with each module of the folder that names one of them.

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
ASSETS = (".html", ".css", ".js", ".yaml", ".json")
INPUTS = ("templates.yaml",)  # files that the rules declare as inputs of their own
ENTRY = re.compile(r"[\w.]+:\w+")  # a function named as text: "lander.module:function"
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@cache
def code_digest(module: str) -> str:
    """Hex digest (16 characters) of the code of a module, or of a package and its `__main__`, and of their imports."""
    if _file(module) is None:
        raise ValueError(f"no module {module}")
    start = [module, f"{module}.__main__"] if _file(f"{module}.__main__") else [module]
    digest = hashlib.sha256()
    for name, whole in sorted(_reachable(start).items()):
        code = _code(name, whole)
        digest.update(f"{name}\n{code}\n".encode())
        files = sorted(_file(name).parent.iterdir())
        assets = [file for file in files if file.suffix in ASSETS and file.name not in INPUTS]
        if any(repr(asset.name) in code for asset in assets):  # pages include others, so all of them count
            for asset in assets:
                digest.update(asset.read_bytes())
    return digest.hexdigest()[:16]


def recorded_digest(module: str, ledger: Path) -> str:
    """A module's digest in a ledger (a JSON file), or its current digest if the ledger has none."""
    return _read_ledger(ledger).get(module) or code_digest(module)


def record_digests(modules: list[str], ledger: Path, *, keep: bool) -> None:
    """Write the modules' digests into a ledger; with `keep`, recorded digests stay."""
    old = _read_ledger(ledger)
    new = {module: code_digest(module) for module in modules}
    digests = {**new, **old} if keep else {**old, **new}
    if digests != old:
        write_json(ledger, dict(sorted(digests.items())))


def _read_ledger(ledger: Path) -> dict[str, str]:
    return read_json(ledger) if ledger.is_file() else {}


def _reachable(start: list[str]) -> dict[str, bool]:
    """Modules that run: name -> True, or False if only the statements of a package's `__init__` run."""
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
    """Modules of Lander that a module names in import statements, or as text: "lander.module:function"."""
    found: list[str] = []
    for node in _nodes(ast.parse(_file(module).read_bytes()), whole):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and ENTRY.fullmatch(node.value):
            found.append(node.value.partition(":")[0])
        elif isinstance(node, ast.ImportFrom):
            members = [f"{node.module}.{alias.name}" for alias in node.names]
            modules = [member for member in members if _file(member)]
            found += modules
            if len(modules) < len(members):  # something is taken from the package or module itself
                found.append(node.module)
    return tuple(name for name in found if name.split(".")[0] == PACKAGE.name and _file(name))


def _nodes(tree: ast.Module, whole: bool) -> Iterator[ast.AST]:
    """All nodes that run: not the body of `if TYPE_CHECKING`, which only type checkers read."""
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
    tree = ast.parse(_file(module).read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, *DEFINITIONS)):
            texts = [part for part in node.body if isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)]
            node.body = [part for part in node.body if part not in texts]
    return "\n".join(ast.unparse(part) for part in tree.body if whole or not isinstance(part, DEFINITIONS))


@cache
def _file(module: str) -> Path | None:
    """Source file of a module of Lander, or None."""
    first, *parts = module.split(".")
    if first != PACKAGE.name:
        return None
    path = PACKAGE.joinpath(*parts)
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)
