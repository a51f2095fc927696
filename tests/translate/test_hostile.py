"""Hostile files by hand, each of a kind that random bytes do not find: bombs, traps, and code that wants to be run."""

import gzip
import json
import os
import pickle
import zipfile

import pytest
import torch
import toys
import trained
from fuzzing import told, within

from lander.config import config
from lander.data.reading import read
from lander.data.sources import Source
from lander.data.textfiles import LONGEST_LINE, TextFile
from lander.detect import lape
from lander.detect.standalone import read_texts
from lander.models import loading
from lander.shared import files
from lander.shared.errors import UserError, one_line, run_main
from lander.shared.files import shipped
from lander.shared.yamlfile import parse_yaml

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{above}'] * 9)}]\n" for above, name in zip("abcdefgh", "bcdefghi", strict=True)
)
YAML = [
    ("seeds: [0]\nrun: a\nseeds: [1]\n", "line 3: the key 'seeds' is there already (line 1)"),
    (BOMB, "more than 200,000 values"),
    (BOMB.replace("[", "{1: [").replace("]\n", "]}\n"), "more than 200,000 values"),
    ("a: &a {b: *a}\n", "line 1: an anchor that contains itself"),
    ("a: " + "[" * 5000, "inside each other"),
    ("a: " + "[" * 60 + "]" * 60, "more than 50 lists"),
    ("a: !!python/object/apply:os.system [true]\n", "could not determine a constructor"),
    ("a: 2024-13-45\n", "month must be in 1..12; write it in quotes"),
    ("a: 1:30\n", "line 1: YAML reads 1:30 as a number to base 60"),
    ("a: !!bool maybe\n", "write it in quotes"),
    ("a: !!timestamp x\n", "write it in quotes"),
    (f"a: {'9' * 6000}\n", "Exceeds the limit"),
    ('a: "\\ud83d\\ude00"\n', "half of a character"),
    ("a: \0\n", "unacceptable character"),
    ("\ta: 1\n", "cannot start any token"),
]


@pytest.mark.parametrize(("text", "message"), YAML)
def test_yaml_of_no_good_will(text, message):
    with within(10), pytest.raises(UserError, match=r"^here") as error:
        parse_yaml(text, "here")
    assert message in str(error.value)


def test_yaml_of_good_will():
    assert parse_yaml("a: &x {k: 1}\nb: *x\nc: {<<: *x, d: 2}\n", "here") == {
        "a": {"k": 1}, "b": {"k": 1}, "c": {"k": 1, "d": 2},
    }  # fmt: skip
    assert parse_yaml("", "here") is None
    assert parse_yaml("a: '1:30'\nb: 12:60 Uhr", "here") == {"a": "1:30", "b": "12:60 Uhr"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"languages": {"../../x": "X", "en": "English"}}, "'../../x' is no code"),
        ({"languages": {"a+b": "X", "en": "English"}}, "'a+b' is no code"),
        ({"run": "demo\n"}, "holds the character '\\n'"),
        ({"model": {"path": "a\0b"}}, "holds the character '\\x00'"),
        ({"model": {"path": "x" * 5000}}, "no such folder"),
        ({"data": {"templates": "x" * 5000}}, "File name too long"),
        ({"finetune": {"learning_rate": float("nan")}}, "finetune.learning_rate: nan given"),
        ({"finetune": {"epochs": "1e999"}}, "finetune.epochs: inf given"),
        ({"seeds": [10**400]}, "a number of more than 60 digits given"),
        ({"finetune": {"steps": "2024-13-45"}}, "wanted a whole number or null"),
    ],
)
def test_configs(changes, message):
    raw = config.merge(parse_yaml(shipped("config.yaml").read_text(encoding="utf-8"), "config.yaml"), changes)
    assert message in told(lambda: config.load(raw))


def test_a_config_as_deep_as_none_is():
    deep: dict = {}
    for _ in range(2000):
        deep = {"a": deep}
    assert "inside each other" in told(lambda: config.load({"model": deep}))


def test_a_packed_line_without_end(tmp_path):
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", 1) as stream:
        for _ in range(LONGEST_LINE // 2**20 + 1):
            stream.write(b"a" * 2**20)
    with TextFile(path) as file:
        assert "line 1: more than 67,108,864 bytes" in told(file.read_line)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("abc\ndef\n".encode("utf-16"), "is it UTF-16?"),
        ("abc\ndef\n".encode("utf-16-le"), "is it UTF-16?"),
        (b"one\rtwo\rthree\r", "carriage return alone"),
        (b"a " * 6000 + b"\n", "12,000 characters"),
    ],
)
def test_text_that_only_looks_like_lines(tmp_path, data, message):
    (tmp_path / "a.txt").write_bytes(data)
    assert message in told(lambda: read_texts({"en": tmp_path / "a.txt"}))


def test_paths_that_no_file_can_have(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in ("a\0b", "x" * 5000, "\ud800", str(tmp_path / "loop"), str(tmp_path), "/proc/self/mem"):
        assert told(lambda path=path: TextFile(path)) is not None
        assert told(lambda path=path: loading.load_model(path)) is not None


def test_names_that_files_can_have(tmp_path):
    for name in ("with space", "-dash", "ü", "字" * 80, "line\nbreak", "'quote\"", "$(touch x)"):
        with files.whole_file(tmp_path / name / name) as temporary:
            temporary.write_text(name, encoding="utf-8")
        with TextFile(tmp_path / name / name) as file:
            assert file.read_line() == name.split("\n")[0]


def test_a_device_is_never_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        assert "not a file to write to" in told(lambda path=path: files.write_text(path, "x"))
    assert (tmp_path / "pipe").is_fifo()


def test_archives_are_never_unpacked(tmp_path):
    unit = '<tu><tuv xml:lang="en"><seg>a</seg></tuv><tuv xml:lang="de"><seg>b</seg></tuv></tu>'
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr("../../evil.tmx", f"<tmx><body>{unit}</body></tmx>")
    before = set(tmp_path.parent.rglob("*"))
    assert list(read(Source(tmx=str(tmp_path / "m.zip")), ("en", "de"))) == [(0, ("a", "b"))]
    assert set(tmp_path.parent.rglob("*")) == before


class Trap:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickles_are_not_loaded(tmp_path):
    base = trained.base(tmp_path / "base")
    (base / "model.safetensors").unlink()
    trap = Trap(tmp_path / "sprung")
    for content in (pickle.dumps(trap), None):
        file = base / "pytorch_model.bin"
        file.write_bytes(content) if content else torch.save({"a": trap}, file)
        assert told(lambda: loading.load_model(str(base))) is not None
        assert told(lambda file=file: lape.read(file, ["en"], (1, 1))) is not None
    assert not trap.path.exists()


def test_no_code_of_a_model_is_run_whatever_the_user_types(tmp_path, monkeypatch):
    base = trained.base(tmp_path / "base")
    (base / "evil.py").write_text(f"import os; os.mkdir({str(tmp_path / 'sprung')!r})\n")
    own = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.X", "AutoModelForCausalLM": "evil.Y"}}
    text = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(text | own))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    assert "which Lander does not run" in told(lambda: loading.load_model(str(base)))
    assert told(lambda: lape.shape_of(str(base))) is not None
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "change", [{"n_layer": 10**12}, {"n_layer": -1}, {"hidden_size": "x"}, {"n_head": 0}, {"hidden_dropout": -1}]
)
def test_configs_that_make_no_model(tmp_path, change):
    base = trained.base(tmp_path / "base")
    text = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(text | change))
    assert told(lambda: loading.load_model(str(base))) is not None


def test_a_tokenizer_of_another_model(tmp_path):
    base = trained.base(tmp_path / "base")
    toys.bloom(1, vocabulary=100).save_pretrained(base)
    assert "files of different models" in told(lambda: loading.load(str(base)))


@pytest.mark.parametrize(
    "content",
    [[["a"]], [[None]], [[torch.tensor([-1])]], [[torch.tensor([float("nan")])]], [[torch.tensor([9])]], {}, [5]],
)
def test_neurons_of_lape_that_are_none(tmp_path, content):
    torch.save(content, tmp_path / "n.pth")
    assert told(lambda: lape.read(tmp_path / "n.pth", ["en"], (1, 4))) is not None


def test_messages_hide_tokens_and_do_nothing_to_a_terminal(capsys):
    def fail() -> None:
        raise UserError("a\x1b[2J\nb hf_abcdefghij " + "x" * 5000 + " remedy")

    with pytest.raises(SystemExit):
        run_main(fail, "x")
    told_ = capsys.readouterr().err
    assert told_.startswith("lander x: error: a\\x1b[2J b hf_... xxx")
    assert told_.endswith("xx remedy\n")
    assert len(told_) < 1000
    assert one_line("\u202e\ud800") == "\\u202e\\ud800"


def test_what_the_disk_refuses_is_told_and_what_is_ours_is_not_hidden(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SystemExit):
        run_main(lambda: files.write_text(tmp_path / "file" / "below", "x"), "x")
    assert f"lander x: error: {tmp_path}/file" in capsys.readouterr().err
    for error in (OSError("ours"), RuntimeError("ours")):
        with pytest.raises(type(error), match="ours"):
            run_main(lambda error=error: (_ for _ in ()).throw(error), "x")
