"""The documentation is true: reference pages are fresh, links lead somewhere, commands and configs are accepted."""

import argparse
import contextlib
import gzip
import importlib.util
import io
import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import yaml

from docs import make_reference
from lander import cli
from lander.config import config
from lander.config.config import READINGS, Config
from lander.experiments.__main__ import EXPERIMENTS
from lander.shared.validation import validate

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "config/README.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
PROGRAMS = ("lander", "snakemake", "python", "make", "pytest")
SNAKEMAKE = {  # the flags of Snakemake that are documented; how many values each takes, None: all that follow
    **dict.fromkeys(["-n", "-p", "--dry-run", "--keep-going", "--lint", "--list", "--list-rules", "--touch"], 0),
    **dict.fromkeys(["--cores", "--profile", "--report", "--retries", "--until", "--workflow-profile"], 1),
    **dict.fromkeys(["--apptainer-args", "--scheduler", "--sdm"], 1),
    **dict.fromkeys(["--configfile", "--forcerun", "--quiet"], None),
    **dict.fromkeys(["--rerun-incomplete", "--unlock"], 0),
}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


# ------------------------------------------------------------ the reference


def test_the_reference_is_what_the_code_says():
    for name, text in make_reference.pages().items():
        assert (make_reference.FOLDER / name).read_text(encoding="utf-8") == text, "run `python -m docs.make_reference`"


def test_a_flag_says_whether_it_is_needed():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", metavar="FOLDER", help="where a|b is")
    parser.add_argument("--size", type=int, default=3, help="of %(default)s x *")
    parser.add_argument("-m", "--mode", choices=["x", "y"], required=True)
    one = parser.add_mutually_exclusive_group(required=True)
    one.add_argument("--all", action="store_true")
    one.add_argument("--one", nargs="+")
    assert make_reference.flag_table(parser).splitlines()[2:] == [
        "| `FOLDER` | where a\\|b is | required |",
        "| `--size SIZE` | of 3 x \\* | `3` |",
        "| `--mode x\\|y` |  | required |",
        "| `--all` |  | one of `--all` or `--one` |",
        "| `--one ONE ...` |  | one of `--all` or `--one` |",
    ]


def test_every_table_has_its_place():
    assert set(make_reference.PLACES) == set(make_reference.tables.SCHEMAS)


def test_the_method_names_every_switch_and_both_values():
    text = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    for section, keys in READINGS["paper"].items():
        for key, value in keys.items():
            row = next(line for line in text.splitlines() if line.endswith(f"| `{section}.{key}` |"))
            assert f"`{value}`" in row.split(" | ")[1]
            repaired = READINGS["repaired"][section][key]
            assert f"`{repaired}`" in row.split(" | ")[2] or (repaired == value and "the same" in row)


# ------------------------------------------------------------ links


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if re.match(r"https?:", path):
            continue
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_the_readme_is_short_and_shows_every_room():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 180
    entries = [*(ROOT / "lander").glob("*/__init__.py"), *(ROOT / "lander").glob("*.py")]
    names = {path.name if path.parent.name == "lander" else f"{path.parent.name}/" for path in entries}
    assert {name for name in names if f"\n  {name} " not in text} == set()


def test_every_page_is_in_the_index():
    text = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = {str(page.relative_to(ROOT / "docs")) for page in PAGES if page.is_relative_to(ROOT / "docs")}
    assert {page for page in pages if f"]({page})" not in text} == {"README.md"}


# ------------------------------------------------------------ commands


def commands(text: str) -> list[list[str]]:
    """The commands in a page's blocks, as words; continued lines are joined, here-documents are left out."""
    found = []
    for _indent, kind, block in FENCE.findall(text):
        if kind not in ("", "sh", "text"):
            continue
        block = re.sub(r"<<'(\w+)'\n.*?^\1$", "", re.sub(r"\\\n\s*", "", block), flags=re.MULTILINE | re.DOTALL)
        for line in block.splitlines():
            found += programs(re.sub(r"(^| )#.*| {3,}.*", "", line.strip()))
    return found


def programs(line: str) -> list[list[str]]:
    """The commands of a line of the shell that call one of `PROGRAMS`, without redirections."""
    found = []
    with contextlib.suppress(ValueError):  # no command: an apostrophe in a text
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
        for start in [0, *(place + 1 for place, word in enumerate(words) if word in (";", "&&", "|"))]:
            rest = words[start:]
            end = next((place for place, word in enumerate(rest) if set(word) <= set(";&|<>()")), len(rest))
            program = rest[0].removeprefix(".venv/bin/") if rest[:end] else ""
            if program in PROGRAMS:
                found.append([program, *rest[1:end]])
    return found


def inline(text: str) -> list[list[str]]:
    """The commands that stand in a sentence: those with more than a name."""
    found = [one for span in re.findall(r"`([^`\n]+)`", FENCE.sub("", text)) for one in programs(span)]
    return [one for one in found if len(one) > 1 and "..." not in one]


@cache
def stages() -> dict[str, argparse.ArgumentParser]:
    return make_reference.stage_parsers()


@cache
def rules() -> set[str]:
    """The targets of the workflow."""
    files = [ROOT / "workflow" / "Snakefile", *(ROOT / "workflow" / "rules").glob("*.smk")]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    return {*re.findall(r"^(?:rule|checkpoint) (\w+):", text, re.MULTILINE), *EXPERIMENTS}


def parse(parser: argparse.ArgumentParser, words: list[str], *, whole: bool) -> None:
    """Let a parser read a command; of one that is cut short, only whether its flags are known."""
    if not whole or "..." in words:
        one = parser
        for _name, _summary, sub in make_reference.subcommands(parser):
            one = sub if words[:1] and sub.prog.split()[-1] == words[0] else one
        known = {name for action in one._actions for name in action.option_strings}
        unknown = {word for word in words if word.startswith("--") and word != "--"} - known
        assert not unknown
        return
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.suppress(SystemExit):
        parser.parse_args(words)
    assert not errors.getvalue()


def check(words: list[str], *, whole: bool) -> None:
    """Whether a command would be accepted, as far as that can be said without running it."""
    program, *rest = words
    if program == "lander":
        assert rest[0].startswith("-") or rest[0] in {*cli.COMMANDS.choices, "COMMAND"}, rest
        if rest[0] == "run":
            check_snakemake([word for word in rest[1:] if not word.endswith(".yaml")])
        elif rest[0] in cli.COMMANDS.choices:
            parse(cli.PARSER, rest, whole=whole)
    elif program == "python" and rest[:1] == ["-m"]:
        module, *rest = rest[1:]
        if module in stages():
            parse(stages()[module], rest, whole=whole)
        elif not set(module) & set("<>") and module not in ("MODULE", "lander."):
            assert importlib.util.find_spec(module), module
    elif program == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert set(rest) <= {*targets, ".venv/.installed"} or "=" in " ".join(rest), rest
    elif program == "snakemake":
        check_snakemake(rest)
    elif program == "pytest":
        assert all((ROOT / word).exists() for word in rest if word.startswith("tests"))


def check_snakemake(words: list[str]) -> None:
    """Flags that are known to exist, and targets that are rules or files."""
    targets, values = [], 0.0
    for word in words:
        if word.startswith("-"):
            assert word == "--" or word in SNAKEMAKE, f"{word}: if it exists, add it to SNAKEMAKE"
            values = float("inf") if word != "--" and SNAKEMAKE[word] is None else SNAKEMAKE.get(word, 0)
        elif values:
            values -= 1
        else:
            targets.append(word)
    assert all(target in rules() or "/" in target or target in ("all", "TARGET") for target in targets), targets


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "results.md"], ids=name_of)
def test_commands_are_accepted(page):
    """Results are left out: they name the commit whose commands they were printed by."""
    text = page.read_text(encoding="utf-8")
    for whole, found in ((True, commands(text)), (False, inline(text))):
        for words in found:
            try:
                check(words, whole=whole)
            except AssertionError as error:
                raise AssertionError(f"{' '.join(words)}: {error}") from None


def test_commands_are_found():
    text = "```sh\nlander scores x | head; make run  # a\nlander check \\\n    --configfile y < z\necho lander\n```\n"
    assert commands(text) == [["lander", "scores", "x"], ["make", "run"], ["lander", "check", "--configfile", "y"]]
    assert inline("Say `lander plan --json`, not `lander`.") == [["lander", "plan", "--json"]]
    with pytest.raises(AssertionError):
        check(["lander", "check", "--config", "x", "..."], whole=True)
    with pytest.raises(AssertionError, match="--beem"):
        check(["lander", "translate", "m", "--direction", "en-de", "--beem", "2"], whole=True)
    with pytest.raises(AssertionError, match="tabel1"):
        check_snakemake(["--cores", "2", "--configfile", "a.yaml", "--", "tabel1"])


# ------------------------------------------------------------ configs and code


def blocks(kind: str) -> list[tuple[str, str]]:
    """Page and text of every block of a kind."""
    texts = [(name_of(page), page.read_text(encoding="utf-8")) for page in PAGES]
    return [(name, block) for name, text in texts for _indent, found, block in FENCE.findall(text) if found == kind]


EXAMPLES = [(page, yaml.safe_load(block)) for page, block in blocks("yaml")]


def named_files(value) -> list[str]:
    """All paths of local text that a config names."""
    if isinstance(value, list):
        return [path for item in value for path in named_files(item)]
    if not isinstance(value, dict):
        return []
    own = [*value.get("files", {}).values(), *(value[kind] for kind in ("tsv", "tmx") if kind in value)]
    return own + [path for item in value.values() for path in named_files(item)]


@pytest.mark.parametrize(("page", "example"), EXAMPLES, ids=[f"{page} {list(example)}" for page, example in EXAMPLES])
def test_configs_are_accepted(page, example, tmp_path, monkeypatch):
    """Whole ones as they stand, parts of one over config.yaml; the text that they name is there."""
    monkeypatch.chdir(tmp_path)
    for path in named_files(example):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_bytes(gzip.compress(b"a\tb\n") if path.endswith(".gz") else b"a\tb\n")
    shipped = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    validate(Config, config.merge(shipped, example))
    if {"languages", "directions", "model", "data"} <= example.keys():
        config.load(example)


def test_python_in_pages_is_python():
    for page, block in blocks("python"):
        compile(block if not block.startswith("    ") else f"{{\n{block}}}", page, "exec")


def test_the_examples_of_the_python_api_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for page, block in blocks("python"):
        if str(page).endswith("python.md"):
            exec(compile(block, page, "exec"), names)
    assert (tmp_path / "exported" / "config.json").is_file()
