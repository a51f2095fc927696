"""The command `lander`: check, translate, export, awareness."""

import contextlib
import gzip
import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import lander
from lander import cli
from lander.detect import estimators
from lander.shared import tables


class Upper:
    """Stands in for a model: translates by shouting."""

    def translate(self, sentences: list[str], direction: str, **options: int) -> list[str]:
        assert (direction, options["beams"]) == ("en-de", 2)
        return [sentence.upper() for sentence in sentences]


def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture, text: bytes, *flags: str) -> str:
    """What `lander translate` writes for a text."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text)))
    monkeypatch.setattr(lander, "load", lambda path, **asked: Upper())
    cli.main(["translate", "model", "--direction", "en-de", "--beams", "2", *flags])
    return capfd.readouterr().out


def test_translate_keeps_lines_in_step(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> None:
    text = "a b\r\n\n  é \x85x\nlast".encode()
    assert run(monkeypatch, capfd, text) == "A B\n\nÉ \x85X\nLAST\n"
    assert run(monkeypatch, capfd, b"\xef\xbb\xbfa\n\nb\n") == "A\n\nB\n"


def test_translate_reads_a_file(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"\xef\xbb\xbfa\r\n\n b\n")
    monkeypatch.setattr(lander, "load", lambda path, **asked: Upper())
    file = str(tmp_path / "in.txt")
    for words in (["model", file, "-d", "en-de"], ["model", "-d", "en-de", file], ["-d", "en-de", "model", file]):
        cli.main(["translate", *words, "--beams", "2"])
        assert capfd.readouterr().out == "A\n\nB\n"
    for words in (["--beem"], ["--beem", "2"], [file, "more.txt"]):
        with pytest.raises(SystemExit):
            cli.main(["translate", "model", "-d", "en-de", *words])
        assert f"unrecognized arguments: {words[0]}" in capfd.readouterr().err
    (tmp_path / "in.txt").write_text("")
    with pytest.raises(SystemExit):
        cli.main(["translate", "model", str(tmp_path / "in.txt"), "-d", "en-de"])
    assert f"{tmp_path / 'in.txt'}: no text" in capfd.readouterr().err


def test_bare_lander_is_help(capsys: pytest.CaptureFixture) -> None:
    for words in ([], ["--help"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(words)
        assert stopped.value.code == 0
        assert "lander init --model" in capsys.readouterr().out
    cli.main(["run", "--help"])
    assert "usage: lander run [CONFIG.yaml ...]" in capsys.readouterr().out


def test_a_wrong_command_gets_the_nearest(capsys: pytest.CaptureFixture) -> None:
    for word, advice in (("chekc", "did you mean check?"), ("scors", "did you mean scores?"), ("xyz", "init, check")):
        with pytest.raises(SystemExit) as stopped:
            cli.main([word, "mine.yaml"])
        assert stopped.value.code == 2
        error = capsys.readouterr().err
        assert error.startswith(f"lander: error: {word}: no such command; ")
        assert advice in error
        assert error.count("\n") == 1


def test_a_shell_completes_commands_and_flags(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    cli.main(["completion", "bash"])
    (tmp_path / "lander.bash").write_text(capsys.readouterr().out)
    words = {}
    for line in ("lander tr", "lander translate m --dir"):
        script = f"source lander.bash; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); "
        script += '_shtab_lander; echo "${COMPREPLY[@]}"'
        words[line] = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True
        ).stdout.split()
    assert words == {"lander tr": ["translate"], "lander translate m --dir": ["--direction"]}


def test_translate_refuses_what_is_no_text(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> None:
    for text, message in (
        (b"a\n\xff\n", "standard input, line 2: not valid UTF-8"),
        (b"\xc3\n", "standard input, line 1: not valid UTF-8"),
        (b"", "standard input: no text"),
        (b"a\rb\rc", "standard input: its lines end in a carriage return"),
        (b"a" * 10_001, "standard input, line 1: 10,001 characters"),
    ):
        with pytest.raises(SystemExit) as stopped:
            run(monkeypatch, capfd, text)
        assert stopped.value.code == 1
        assert f"lander translate: error: {message}" in capfd.readouterr().err


def test_check_says_what_a_run_would_do(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    mine = tmp_path / "my.yaml"
    mine.write_text("routing: {gate: off, pool: sum}")
    for words in (["--configfile", "config.yaml", str(mine)], ["config.yaml", str(mine)], ["config.yaml"]):
        cli.main(["check", *words])
        out = capsys.readouterr().out
        assert ("routing" in out) == (str(mine) in words)
    cli.main(["check", "config.yaml", "--configfile", str(mine)])
    out = capsys.readouterr().out
    assert "run            demo, to results/demo/" in out
    assert "en-de de-en" in out
    assert "repaired, routing.gate: off" in out
    assert 'routing.gate: "off" (default: "learned")' in out
    mine.write_text("finetune: {stepz: 1}")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["check", "--configfile", str(mine)])
    assert stopped.value.code == 1
    assert capsys.readouterr().err == "lander check: error: finetune.stepz: no such key; did you mean finetune.steps?\n"


@pytest.mark.parametrize("target", ["all-linear", ".*dense", "word_embeddings", "lm_head"])
def test_check_knows_the_targets_of_lora(target: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"finetune: {{lora: {{targets: [{target}]}}}}\n")
    with contextlib.nullcontext() if target == "lm_head" else pytest.raises(SystemExit):
        cli.main(["check", "--configfile", "config.yaml", str(mine)])
    refused = f"lander check: error: finetune.lora.targets: no linear map is called {target}; a layer has dense, "
    assert capsys.readouterr().err.startswith(refused) == (target != "lm_head")


def test_scores_of_other_metrics_and_of_tests_in_other_directions(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "evaluate").mkdir()
    rows = ["method,variant,seed,test,direction,metric,score,signature"]
    for metric, factor, signature in (
        ("loss_per_character", 1, "unit:nats"),
        ("empty", 0.1, "unit:share"),
        ("metricx", 10, "model:m|better:less"),
    ):
        rows += [f"full,main,0,news,en-de,{metric},{0.161 * factor},{signature}"]
        rows += [f"lora,main,0,news,en-de,{metric},{0.163 * factor},{signature}"]
        rows += [f"lora,main,0,news,de-en,{metric},{0.5 * factor},{signature}"]
        rows += [f"full,main,0,bible,en-fr,{metric},{0.25 * factor},{signature}"]
    (tmp_path / "evaluate" / "scores.csv").write_text("\n".join(rows) + "\n")
    for metric, heading, full, lora, bible in (
        ("loss_per_character", "(less is better), on", ["0.161", "–"], ["0.163", "0.500"], ["0.250"]),
        ("empty", "% of items, on", ["1.6", "–"], ["1.6", "5.0"], ["2.5"]),
        ("metricx", "metricx (less is better), on", ["1.610", "–"], ["1.630", "5.000"], ["2.500"]),
    ):
        cli.main(["scores", str(tmp_path), "--metric", metric.upper(), "--format", "markdown"])
        lines = capsys.readouterr().out.splitlines()
        cells = [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| ")]
        table = [row for row in cells if not row[0].startswith("-")]
        assert table[:2] == [["method", "en-fr"], ["full", *bible]]
        assert table[2:] == [["method", "en-de", "de-en"], ["full", *full], ["lora", *lora]]
        assert f"{heading} bible" in "\n".join(lines)
    with pytest.raises(SystemExit):
        cli.main(["scores", str(tmp_path), "--metric", "comet"])  # of which there is no score
    assert "--metric: comet: not in" in capsys.readouterr().err


def test_awareness_from_text_files(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "a.txt").write_text("three apples\n\ntwo pears\n")
    (tmp_path / "b.gz").write_bytes(gzip.compress("drei Äpfel\nzwei Birnen\n".encode()))
    files = ["--text", f"en={tmp_path / 'a.txt'}", "--text", f"de={tmp_path / 'b.gz'}", "--out", str(tmp_path / "out")]
    cli.main(["awareness", "lander-tiny", *files])
    neurons = tables.read(tmp_path / "out" / "neurons.parquet", "neurons")
    assert neurons.groupby("layer")["kind"].value_counts().unstack()["specific"].tolist() == [51] * 6  # .1 * 512
    assert set(neurons["language"].dropna()) == {"en", "de"}
    said = capsys.readouterr().err
    assert "en: 2 sentences" in said
    assert f"warning: {tmp_path / 'b.gz'} ends with line 2, others do not" in said
    assert "by the rule variance: " in said
    scores = tables.read(tmp_path / "out" / "awareness" / "de.parquet", "awareness")
    for estimator, rule in {"probability": "entropy", "summed": "summed"}.items():
        cli.main(["awareness", "lander-tiny", *files, "--estimator", estimator, "--sentences", "1"])
        assert f"by the rule {rule}: " in capsys.readouterr().err
        assert len(tables.read(tmp_path / "out" / "awareness" / "de.parquet", "awareness")) == len(scores) == 6 * 512
    cli.main(["awareness", "lander-tiny", *files, "--estimator", "probability", "--rule", "variance"])
    assert "by the rule variance: " in capsys.readouterr().err


def test_exact_ablation_of_a_sample_has_scores_and_no_groups(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "a.txt").write_text("three apples\n")
    files = ["--text", f"en={tmp_path / 'a.txt'}", "--text", f"de={tmp_path / 'a.txt'}", "--out", str(tmp_path / "out")]
    flags = [*files, "--estimator", "ablation", "--neurons", "2", "--seed", "1"]
    cli.main(["awareness", "lander-tiny", *flags])
    assert "2 neurons of each layer are scored, and not divided into groups" in capsys.readouterr().err
    read = [tables.read(tmp_path / "out" / "awareness" / f"{code}.parquet", "awareness") for code in ("en", "de")]
    english, german = read
    assert english.equals(german)  # the same text, the same neurons
    assert english["neuron"].tolist() == np.concatenate(estimators.choose((6, 512), 2, seed=1)).tolist()
    assert english["score"].min() > 0
    assert not (tmp_path / "out" / "neurons.parquet").exists()
    (tmp_path / "out" / "neurons.parquet").touch()
    with pytest.raises(SystemExit):
        cli.main(["awareness", "lander-tiny", *flags])
    assert "neurons.parquet: of other scores" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--text", "en=a.txt"], "--text: give at least two languages"),
        (["--text", "en=a.txt", "--text", "de=none.txt"], "none.txt: no such file"),
        (["--text", "en=a.txt", "--text", "de=empty.txt"], "empty.txt: no text in it"),
        (["--text", "en=a.txt", "--text", "en=b.txt"], "--text: en is given twice"),
        (["--text", "en=a.txt", "--text", "de=a.txt", "--rule", "entropy"], "add --estimator probability"),
        (["--text", "en=a.txt", "--text", "de=a.txt", "--neurons", "2"], "add --estimator ablation"),
    ],
)
def test_awareness_refuses(
    flags: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("apple\n")
    Path("empty.txt").write_text("\n")
    with pytest.raises(SystemExit):
        cli.main(["awareness", "lander-tiny", *flags, "--out", "out"])
    error = capsys.readouterr().err
    assert error.startswith("lander awareness: error: ")
    assert message in error
    assert not Path("out").exists()


def test_every_command_and_every_flag_is_explained() -> None:
    for name, one in cli.COMMANDS.choices.items():
        assert one.description.endswith("."), name
        assert all(action.help for action in one._actions), name
        assert one.format_help()
        assert f"    {name}" in cli.PARSER.format_help()


@pytest.mark.parametrize("command", ["export", "delta", "card", "translate"])
def test_folders_that_are_no_models(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """One line, whatever lies there."""
    monkeypatch.chdir(tmp_path)
    given = {
        "export": ["--direction", "en-de", "--out", "x"],
        "delta": ["--out", "x.safetensors"],
        "card": [],
        "translate": ["--direction", "en-de"],
    }[command]
    manifest = {"format": "lander-model-1", "method": "full", "directions": [], "languages": {}, "templates": []}
    manifest |= {"masked": [], "routing": None, "sizes": {}, "files": {}}
    contents = ["", "{", "[]", "3", '{"format": "lander-model-1"}', manifest | {"base": [1]}, manifest | {"base": {}}]
    base = {"path": "x", "digest": "y"}
    contents += [manifest | {"base": base, "files": {"../f": "y"}}, manifest | {"base": base, "files": []}]
    contents += [manifest | {"base": base, "method": "landermt"}, manifest | {"base": base, "method": ["full"]}]
    for content in contents:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"hello\n")))
        Path("m").mkdir(exist_ok=True)
        Path("m/lander.json").write_text(content if isinstance(content, str) else json.dumps(content))
        with pytest.raises(SystemExit) as stopped:
            cli.main([command, *given, "--", "m"])
        error = capsys.readouterr().err
        assert stopped.value.code == 1, content
        assert error.startswith(f"lander {command}: error: m"), error
        assert error.count("\n") == 1
        assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]


@pytest.mark.parametrize("words", [["translate", "m", "--direction", "en-de", "--beams", "3000"], ["check", "--nope"]])
def test_a_wrong_flag_is_one_line(words: list[str], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(words)
    said = capsys.readouterr().err
    assert stopped.value.code == 2
    assert said.startswith("lander")
    assert said.endswith("--help`\n")
    assert said.count("\n") == 1
