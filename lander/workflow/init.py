"""`lander init`: a config file for a model and parallel text, with comments that say what is in them.

Languages come from the flags, the names of the files, or the text itself. Dev and test text that is not given comes
from the end of the training text: a tenth of it each, at most 200 and 1,000 pairs.
"""

import contextlib
import io
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader

from lander.config import config
from lander.config.base import PRETRAIN, depth, find_folder
from lander.config.schema import DEFAULTS
from lander.data import tmx
from lander.data.langid import Judge
from lander.data.measures import script_share
from lander.data.sources import Source, check_sources
from lander.data.textfiles import TextFile, bare
from lander.shared.errors import UserError
from lander.shared.files import read_json, shipped
from lander.shared.languages import Direction, base_language, find_language, language_name, script_of
from lander.shared.validation import validate
from lander.shared.yamlfile import parse_yaml

SAMPLE = 200  # lines of a file that are looked at
MOST = {"test": 1000, "dev": 200}  # pairs that are taken from the training text
FEWEST = 20  # pairs that can be divided
SURE = 100  # test pairs; with fewer, few differences between methods can be more than chance
UNLIKELY = 0.01  # probability of a text's own language
UNUSED = "column"  # in place of a language: of a column that is not used
MEANINGS = {
    "train": "To train on. Line n of all files of a source is the same sentence. `lines` counts from 0.",
    "dev": "To choose the base's best prompt.",
    "test": "To score the models. Scores go by the name.",
    "exclude": "Sentences that are removed from the training text.",
}


@dataclass
class Text:
    """A source, the languages that it has, its first pair and their number, and what is said of it."""

    source: dict[str, Any]
    languages: list[str]
    begin: int
    pairs: int
    about: str


# ---------------------------------------------------------------- the text


def look(words: Sequence[str], languages: Sequence[str] = ()) -> list[Text]:
    """The sources that files make: one of all plain files together, one of each TSV and TMX file.

    Each word is a file, or LANGUAGE=FILE. `languages`: of the files or columns, in their order.
    """
    named = [_named(word) for word in words]
    kinds = [_kind(path, alone=len(named) == 1) for _, path in named]
    plain = [one for one, kind in zip(named, kinds, strict=True) if kind == "files"]
    if len(plain) == 1:
        raise UserError(f"{plain[0][1]}: one file of text; name that of the other language too, with the same lines")
    found = [_files(plain, languages)] if plain else []
    for (_, path), kind in zip(named, kinds, strict=True):
        found += [{"tsv": _tsv, "tmx": _tmx}[kind](path, languages)] if kind != "files" else []
    return found


def _named(word: str) -> tuple[str | None, str]:
    code, sign, path = word.partition("=")
    return (code, path) if sign and not Path(word).exists() else (None, word)


def _kind(path: str, *, alone: bool) -> str:
    """files, tsv or tmx: by the name of a file, or by the tabs in its lines if it is alone."""
    kind = Path(bare(path.lower())).suffix[1:]
    if kind in ("tsv", "tmx"):
        return kind
    lines = _head(path) if alone else []
    return "tsv" if lines and all("\t" in line for line in lines) else "files"


def _head(path: str) -> list[str]:
    with TextFile(path) as file:
        return list(islice(iter(file.read_line, None), SAMPLE))


def _count(path: str) -> int:
    with TextFile(path) as file:
        return file.count_rest()


def _files(named: Sequence[tuple[str | None, str]], languages: Sequence[str]) -> Text:
    """Line-aligned files, one for each language."""
    if languages and len(languages) != len(named):
        raise UserError(f"--languages: {len(languages)} for {len(named)} files; give one for each file, in their order")
    files: dict[str, str] = {}
    about = []
    for place, (code, path) in enumerate(named):
        lines = _head(path)
        code = languages[place] if languages else code or language_of(path, lines)
        if code in files:
            raise UserError(f"{files[code]}, {path}: both look like {code}; say what they are: --languages en de")
        files[code] = path
        about.append(_seen(path, code, lines))
    (first, lines), *others = ((path, _count(path)) for path in files.values())
    if other := next(((path, count) for path, count in others if count != lines), None):
        raise UserError(f"{first} has {lines:,} lines, {other[0]} has {other[1]:,}; line n of both is one sentence")
    return Text({"files": files}, list(files), 0, lines, f"{lines:,} lines: {'; '.join(about)}")


def _tsv(path: str, languages: Sequence[str]) -> Text:
    """A file with tabs between its columns, and maybe the codes of their languages in the first line."""
    first, *rest = [line.split("\t") for line in _head(path)] or [[]]
    header = [cell.strip() for cell in first]
    titled = all(map(_known, header))
    columns = [[row[place] for row in rest if place < len(row)] for place in range(len(first))]
    if languages and len(languages) != len(columns):
        raise UserError(f"--languages: {path} has {len(columns)} columns; give one for each, in their order")
    codes = list(languages) or (header if titled else [_in_text(path, column) for column in columns])
    codes = [f"{UNUSED}{place}" if code in codes[: place - 1] else code for place, code in enumerate(codes, start=1)]
    names = (f"column {place}" for place in range(1, len(codes) + 1))
    about = [_seen(*one) for one in zip(names, codes, columns, strict=True)]
    served = [code for code in codes if not code.startswith(UNUSED)]
    source = {"tsv": path, "columns": codes} | ({"lines": [1, None]} if titled else {})
    pairs = _count(path) - titled
    return Text(source, served, int(titled), pairs, f"{path}: {pairs:,} lines: {'; '.join(about)}")


def _tmx(path: str, languages: Sequence[str]) -> Text:
    """A translation memory."""
    found = tmx.languages(path)
    codes = list(languages) or list(dict.fromkeys(map(base_language, found)))
    if missing := [code for code in codes if find_language(code, found) is None]:
        raise UserError(f"--languages: {path} has no {missing[0]}, only {', '.join(found)}")
    units = sum(1 for _ in tmx.units(path))
    return Text({"tmx": path}, codes, 0, units, f"{path}: {units:,} units in {', '.join(codes)}")


# ---------------------------------------------------------------- which language


def _known(code: str) -> bool:
    """Whether a word is the code of a language, as en, zh-Hant or pt_BR."""
    if not re.fullmatch(r"[a-z]{2,3}([-_][A-Za-z]{2,4})?", code):
        return False
    try:
        return bool(language_name(code))
    except UserError:
        return False


def language_of(path: str, lines: Sequence[str] | None = None) -> str:
    """The language of a file of text, by its name or by how it looks."""
    lines = _head(path) if lines is None else lines
    return _in_name(path, lines) or _in_text(path, lines)


def _in_name(path: str, lines: Sequence[str]) -> str | None:
    """The code in a file's name, as in news.en.gz, en.txt and news-de.txt, if the text has its language's script."""
    name = bare(Path(path).name).removesuffix(".txt")
    parts = re.split("[._-]", name)
    for code in (name.rpartition(".")[2], parts[-1], parts[0]):
        if _known(code) and script_share(" ".join(lines), script_of(code) or "Latn") > 0.5:
            return code
    return None


def _in_text(path: str, lines: Sequence[str]) -> str:
    """The language that a text is most likely in."""
    import py3langid

    text = " ".join(lines)
    if not text.strip():
        raise UserError(f"{path}: no text in the first {SAMPLE} lines; say the languages: --languages en de")
    return py3langid.classify(text)[0]


def _seen(name: str, code: str, lines: Sequence[str]) -> str:
    """What is said of a file or column, and a warning if it does not look like its language."""
    if not _known(code):
        return f"{name} is not used" if code.startswith(UNUSED) else f"{name} is {code}"
    text, script, likely = " ".join(lines), script_of(code), _in_text(name, lines)
    if Judge(code, [likely]).probabilities([text])[0] < UNLIKELY:
        seen = language_name(likely if likely != base_language(code) else code)
        print(f"lander init: warning: {name} looks like {seen}, and {code} is given; is it right?", file=sys.stderr)
    share = f", {script_share(text, script):.0%} of the letters {script}" if script else ""
    return f"{name} is {language_name(code)}{share}"


# ---------------------------------------------------------------- the config


def make(
    file: Path,
    model: str,
    words: dict[str, Sequence[str]],
    languages: Sequence[str] = (),
    directions: Sequence[str] = (),
) -> tuple[str, str]:
    """The text of a config file, checked, and what there is to say about it.

    Args:
        words: the files that are given as train, and maybe as dev and test.
        languages: of the files or columns, in their order; by default what they look like.
        directions: by default from and to English, or the first language.
    """
    folder = None if model == PRETRAIN else find_folder(model)
    texts = {part: look(own, languages) for part, own in words.items()}
    parts = divide(texts)
    tests = check_sources([validate(Source, one) for one in parts["test"]], "--test")
    parts["test"] = [{"name": test.name} | source for test, source in zip(tests, parts["test"], strict=True)]
    parts["exclude"] = [{key: one[key] for key in one if key != "name"} for one in parts["dev"] + parts["test"]]
    served = list(dict.fromkeys(code for one in texts["train"] for code in one.languages))
    hub = next((code for code in served if base_language(code) == "en"), served[0])
    both = [str(Direction(*ends)) for code in served if code != hub for ends in ((hub, code), (code, hub))]
    pages = Environment(loader=FileSystemLoader(Path(__file__).parent), trim_blocks=True, keep_trailing_newline=True)
    pages.filters["yaml"] = _yaml
    page = pages.get_template("mine.yaml.jinja").render(
        {"file": file, "run": file.stem, "model": model, "languages": served, "directions": list(directions) or both},
        **_about(folder),
        **{"texts": texts, "parts": parts, "meanings": MEANINGS, "defaults": shipped(DEFAULTS)},
    )
    with contextlib.redirect_stderr(io.StringIO()):  # `lander check` says its warnings
        config.load(parse_yaml(page, str(file)))
    return page, _said(file, texts, parts)


def divide(texts: dict[str, list[Text]]) -> dict[str, list[dict[str, Any]]]:
    """The sources of train, dev and test. What is not given comes from the end of the longest training source."""
    parts = {part: [one.source for one in own] for part, own in texts.items()}
    longest = max(texts["train"], key=lambda one: one.pairs)
    start, stop = longest.begin, longest.begin + longest.pairs
    for part in (part for part in MOST if part not in texts):
        if longest.pairs < FEWEST:
            raise UserError(
                f"--text: {longest.pairs} pairs are too few to be divided; give more, or text for --dev and --test"
            )
        begin = stop - min(MOST[part], longest.pairs // 10)
        parts[part] = [longest.source | {"lines": [begin, stop]}]
        stop = begin
        kept = longest.source | {"lines": [start, stop]}
        parts["train"] = [kept if one is longest else one.source for one in texts["train"]]
    return {part: parts[part] for part in ("train", "dev", "test")}


def _about(folder: Path | None) -> dict[str, Any]:
    """What the page says of a model: its kind and depth, and whether it has a chat template."""
    if folder is None:
        return {"k": 4}
    layers, kind = depth(folder / "config.json"), read_json(folder / "config.json")["model_type"]
    settings = folder / "tokenizer_config.json"
    chat = (folder / "chat_template.jinja").is_file() or (settings.is_file() and "chat_template" in read_json(settings))
    about = f"{kind}, {layers} layers" if layers else kind
    return {"about": about, "chat": chat, "depth": layers, "k": max(1, min(4, layers // 2)) if layers else 4}


def _yaml(value: Any) -> str:
    """A value on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)
    return text.removesuffix("...\n").strip()


def _said(file: Path, texts: dict[str, list[Text]], parts: dict[str, list[dict[str, Any]]]) -> str:
    """What was seen, how the text is divided, and what to do next."""
    lengths = {part: sum(one.pairs for one in own) for part, own in texts.items()}
    for part in MOST.keys() - texts.keys():
        (begin, stop) = parts[part][0]["lines"]
        lengths[part] = stop - begin
        lengths["train"] -= lengths[part]
    if lengths["test"] < SURE:
        few = f"{lengths['test']} test pairs are few: most differences between methods will be no more than chance"
        print(f"lander init: warning: {few}", file=sys.stderr)
    seen = [one.about for own in texts.values() for one in own]
    divided = ", ".join(f"{lengths[part]:,} pairs as {part}" for part in parts if part in lengths)
    return "\n".join([*seen, f"{file}: {divided}", f"next: lander check {file}; lander run {file}"])
