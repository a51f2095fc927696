"""Code digests: what changes them, what does not, and the ledger that keeps old ones."""

import json
import re
from pathlib import Path

import pytest

from lander.shared import digest

FILES = {
    "__init__.py": "VERSION = 1\n\ndef load():\n    from lander.heavy import thing\n    return thing\n",
    "stage.py": "from lander.tools import helper\n\ndef main():\n    return helper()\n",
    "tools.py": "def helper():\n    return 1\n",
    "heavy.py": "thing = 1\n",
    "other.py": "import lander.tools\n",
    "pack/__init__.py": "",
    "pack/__main__.py": "from lander.pack import inner\nPAGE = 'page.html'\n",
    "pack/inner.py": "def f():\n    from lander.tools import helper\n    return helper\n",
    "pack/page.html": "{% include 'part.html' %}",
    "pack/part.html": "<p>",
    "data.py": "from pathlib import Path\nTABLE = Path(__file__).with_name('table.json')\n",
    "table.json": "{}",
    "typed.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from lander.heavy import thing\n",
    "registry.py": 'BUILD = "lander.heavy:thing"\nNOTE = "see lander.other: nothing"\n',
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A package called lander in a temporary folder; returns a function that writes a file and forgets caches."""
    monkeypatch.setattr(digest, "PACKAGE", tmp_path / "lander")

    def forget() -> None:
        for function in (digest.code_digest, digest._imports, digest._code, digest._file):
            function.cache_clear()

    def write(name: str, text: str) -> None:
        path = tmp_path / "lander" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        forget()

    for name, text in FILES.items():
        write(name, text)
    yield write
    forget()


LAYOUT = '"""What it does."""\nfrom lander.tools import helper\n# why\n\ndef main():\n  return (helper())\n'
TWO = "def helper():\n    return 2\n"


@pytest.mark.parametrize(
    ("module", "file", "text", "counts"),
    [
        ("stage", "stage.py", LAYOUT, False),
        ("stage", "tools.py", 'def helper():\n    """One."""\n    return 1  # one\n', False),
        ("stage", "heavy.py", "thing = 2\n", False),  # only a function of the package's __init__ imports it
        ("stage", "__init__.py", FILES["__init__.py"].replace("return thing", "return 2"), False),
        ("stage", "other.py", "x = 1\n", False),
        ("stage", "pack/inner.py", "x = 1\n", False),
        ("stage", "table.json", "[]", False),  # a module beside it reads it, and the stage does not import that module
        ("stage", "stage.py", FILES["stage.py"].replace("return helper()", "return helper() + 1"), True),
        ("stage", "tools.py", TWO, True),
        ("stage", "__init__.py", FILES["__init__.py"].replace("VERSION = 1", "VERSION = 2"), True),
        ("other", "tools.py", TWO, True),
        ("pack", "pack/__main__.py", "from lander.pack import inner\nx = 1\n", True),
        ("pack", "pack/inner.py", "def f():\n    return 1\n", True),
        ("pack", "tools.py", TWO, True),  # an import inside a function
        ("pack", "pack/page.html", "<div>", True),
        ("pack", "pack/part.html", "<div>", True),
        ("data", "table.json", "[]", True),
        ("typed", "heavy.py", "thing = 2\n", False),
        ("registry", "other.py", "x = 1\n", False),
        ("registry", "heavy.py", "thing = 2\n", True),  # a function named as text counts as an import
    ],
)
def test_what_runs_counts_and_nothing_else(package, module: str, file: str, text: str, counts: bool) -> None:
    before = digest.code_digest(f"lander.{module}")
    package(file, text)
    assert (digest.code_digest(f"lander.{module}") != before) == counts


def test_unknown_module(package) -> None:
    with pytest.raises(ValueError, match=r"no module lander\.nothing"):
        digest.code_digest("lander.nothing")


def test_ledger_keeps_what_a_run_began_with(package, tmp_path: Path) -> None:
    ledger = tmp_path / "run" / ".code.json"
    assert digest.recorded_digest("lander.stage", ledger) == digest.code_digest("lander.stage")
    digest.record_digests(["lander.stage"], ledger, keep=True)
    old = digest.code_digest("lander.stage")
    package("tools.py", TWO)
    new = digest.code_digest("lander.stage")
    digest.record_digests(["lander.stage", "lander.other"], ledger, keep=True)
    assert old != new
    assert digest.recorded_digest("lander.stage", ledger) == old
    digest.record_digests(["lander.stage"], ledger, keep=False)
    assert digest.recorded_digest("lander.stage", ledger) == new
    assert set(json.loads(ledger.read_text())) == {"lander.stage", "lander.other"}


def test_stages_do_not_read_the_config() -> None:
    """Stages know flags only, so an edit of the loader of configs reruns nothing."""
    package = digest.PACKAGE
    rules = (package.parent / "workflow" / "rules").glob("*.smk")
    stages = {name for file in rules for name in re.findall(r'plan\.code\("([a-z._]+)"\)', file.read_text())}
    assert {"finetune", "detect.layers", "experiments", "experiments.claims"} <= stages
    for stage in stages:
        is_package = (package / stage.replace(".", "/")).is_dir()
        start = [f"lander.{stage}"] + ([f"lander.{stage}.__main__"] if is_package else [])
        reached = digest._reachable(start)
        assert not [n for n in reached if n.startswith(("lander.config.config", "lander.workflow", "lander.cli"))]


def test_no_import_is_hidden_from_the_digest() -> None:
    """A module of Lander that is imported by a computed or relative name would be missed."""
    for file in digest.PACKAGE.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"import_module|^\s*from \.", text, flags=re.M), file


def test_every_data_file_of_the_package_is_counted() -> None:
    """A folder with data files has a module that names one of them."""
    files = [file for file in digest.PACKAGE.rglob("*") if file.suffix in digest.ASSETS]
    for folder in {file.parent for file in files if not (file.parent / "config.json").is_file()}:  # not the base
        code = "".join(module.read_text(encoding="utf-8") for module in folder.glob("*.py"))
        assert any(f'"{file.name}"' in code for file in files if file.parent == folder), folder
