"""`lander init`: what it sees in files, and the config that it writes."""

import gzip
from pathlib import Path

import pytest

from lander.config import config
from lander.config.base import BUILT_IN
from lander.shared.errors import UserError
from lander.workflow import init

ENGLISH = "The weather is nice today and we are going to the market."
GERMAN = "Das Wetter ist heute schön, und wir gehen auf den Markt."
RUSSIAN = "Сегодня хорошая погода, и мы идём на рынок."
TINY = str(BUILT_IN / "lander-tiny")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, *sentences: str, lines: int = 100) -> str:
    """A file of numbered lines, with a tab between the sentences of each."""
    text = "".join("\t".join(f"{number} {one}" for one in sentences) + "\n" for number in range(lines))
    Path(name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return name


def made(*words: str, model: str = TINY, **options: object) -> config.Config:
    """The config that is written for training text, as it is read."""
    text, _ = init.make(Path("mine.yaml"), model, {"train": list(words)}, **options)
    Path("mine.yaml").write_text(text)
    return config.read("mine.yaml")


@pytest.mark.parametrize(
    "names", [("a.en", "a.de"), ("en.txt", "de.txt"), ("a-en.txt.gz", "a-de.txt.gz"), ("one.txt", "two.txt")]
)
def test_two_files_are_languages_and_three_parts(names: tuple[str, str]) -> None:
    words = [write(name, text) for name, text in zip(names, (ENGLISH, GERMAN), strict=True)]
    found = made(*words)
    assert list(found.languages) == ["en", "de"]
    assert list(map(str, found.directions)) == ["en-de", "de-en"]
    parts = [getattr(found.data, part)[0] for part in ("train", "dev", "test")]
    assert [part.lines for part in parts] == [(0, 80), (80, 90), (90, 100)]
    assert {tuple(part.files.values()) for part in parts} == {names}
    assert [source.lines for source in found.data.exclude] == [(80, 90), (90, 100)]
    assert found.layers.k == 3  # of 6
    assert (found.run, found.model.path) == ("mine", TINY)


def test_what_is_given_is_not_taken_from_the_training_text() -> None:
    words = {part: [write(f"{part}.en", ENGLISH, lines=5), write(f"{part}.de", GERMAN, lines=5)] for part in init.MOST}
    words["train"] = [write("t.en", ENGLISH, lines=3), write("t.de", GERMAN, lines=3)]
    text, said = init.make(Path("mine.yaml"), TINY, words)
    assert "lines: [" not in text
    assert "3 pairs as train, 5 pairs as dev, 5 pairs as test" in said


def test_languages_can_be_said(capsys: pytest.CaptureFixture) -> None:
    words = write("a.en", ENGLISH), write("a.de", GERMAN)
    assert list(made(*words, languages=["eng", "deu"]).languages) == ["eng", "deu"]
    assert made(f"de-AT={words[1]}", f"en={words[0]}").data.train[0].files == {"de-AT": "a.de", "en": "a.en"}
    assert not capsys.readouterr().err.count("looks like")
    made(*words, languages=["de", "en"], directions=["de-en"])
    assert "a.en looks like English, and de is given" in capsys.readouterr().err


def test_columns_of_a_tsv_file() -> None:
    found = made(write("two.txt", RUSSIAN, ENGLISH, "CC-BY by someone in the community of translators"))
    assert found.data.train[0].columns == ("ru", "en", "column3")
    assert list(found.languages) == ["ru", "en"]
    assert list(map(str, found.directions)) == ["en-ru", "ru-en"]
    Path("head.tsv").write_text("en\tde\n" + f"{ENGLISH}\t{GERMAN}\n" * 30)
    found = made("head.tsv")
    assert found.data.train[0].columns == ("en", "de")
    assert [source.lines for source in (*found.data.train, *found.data.test)] == [(1, 25), (28, 31)]


def test_units_of_a_memory() -> None:
    unit = f'<tu><tuv xml:lang="en-US"><seg>{ENGLISH}</seg></tuv><tuv xml:lang="de"><seg>{GERMAN}</seg></tuv></tu>'
    Path("m.tmx").write_text(f'<tmx version="1.4"><header/><body>{unit * 40}</body></tmx>')
    found = made("m.tmx")
    assert list(found.languages) == ["en", "de"]
    assert [source.lines for source in (*found.data.train, *found.data.test)] == [(0, 32), (36, 40)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([("a.en", ENGLISH, 30)], "one file of text"),
        ([("a.en", ENGLISH, 30), ("a.de", GERMAN, 29)], "a.en has 30 lines, a.de has 29"),
        ([("a.en", ENGLISH, 30), ("b.en", ENGLISH, 30)], "both look like en"),
        ([("a.en", ENGLISH, 19), ("a.de", GERMAN, 19)], "19 pairs are too few"),
        ([("a.en", ENGLISH, 0), ("a.de", GERMAN, 0)], "no text"),
    ],
)
def test_text_that_is_no_pair_is_refused(words: list[tuple[str, str, int]], message: str) -> None:
    names = [write(name, text, lines=lines) for name, text, lines in words]
    with pytest.raises(UserError, match=message):
        made(*names)


def test_the_page_says_what_a_model_has(tmp_path: Path) -> None:
    model = tmp_path / "chat model"
    model.mkdir()
    for file in Path(TINY).iterdir():
        (model / file.name).symlink_to(file)
    (model / "chat_template.jinja").touch()
    found = made(write("a.en", ENGLISH), write("a.de", GERMAN), model="chat model")
    assert found.model.path == "chat model"
    assert "path: chat model  # bloom, 6 layers\n  # prompt: chat" in Path("mine.yaml").read_text()
