"""The config: what is refused, in which words; what is filled in; what is made from the declarations."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from snakemake.utils import update_config

from lander.config import checks, config, schema
from lander.config.config import Config
from lander.data.reading import aligned, read
from lander.data.sources import Source, check_sources
from lander.shared.errors import UserError
from lander.shared.section import keys
from lander.shared.validation import validate

ROOT = Path(__file__).parents[2]
REQUIRED = {"languages", "directions", "model", "model.path"}
SWITCHES = {f"{section}.{key}" for section, values in config.READINGS["repaired"].items() for key in values}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with two aligned files, a model folder and a broken one."""
    for name in ("a.en", "a.de", "a.cs", "a.uk"):
        (tmp_path / name).write_text("one\ntwo\n")
    for name in ("base", "bare", "odd", "braces", "results/r/pretrain"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text(json.dumps({"model_type": "llama", "num_hidden_layers": 3}))
    for name in ("base", "braces"):
        (tmp_path / name / "model.safetensors").write_text("weights")
    (tmp_path / "braces" / "{seed}.json").touch()
    (tmp_path / "results" / "r" / "pretrain" / "model.safetensors").touch()
    (tmp_path / "odd" / "config.json").unlink()
    (tmp_path / "masks").mkdir()
    (tmp_path / "results" / "README.md").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def demo(**changes: Any) -> dict[str, Any]:
    """config.yaml with a local base, and changes over it."""
    raw = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    return config.merge(config.merge(raw, {"model": {"path": "base"}}), changes)


def error(raw: dict[str, Any]) -> str:
    """The message that a config is refused with, which is one line."""
    with pytest.raises(UserError) as caught:
        config.load(raw)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


CLDR = {"builtin": "cldr"}
X = {**CLDR, "name": "x"}
FILES = {"files": {"en": "a.en", "de": "a.de"}}
REFUSED = [
    # keys
    ({"finetune": {"stepz": 1}}, "finetune.stepz: no such key; did you mean finetune.steps?"),
    ({"general_share": 0.5}, "general_share: no such key; did you mean neurons.general_share?"),
    ({"finetun": {"steps": 1}}, "finetun: no such key; did you mean finetune?"),
    ({"layers": {"zzz": 1}}, "layers.zzz: no such key; known here: k, difference, side, selection"),
    ({"data": {"cleaning": {"default": {"lenght": {"max": 9}}}}}, "data.cleaning.default.lenght: no such key; did you"),
    ({"data": {"train": [{"file": {"en": "a", "de": "b"}}]}}, "data.train[0].file: no such key; did you mean data.tr"),
    ({"languages": [False, "en"]}, "languages[0]: false given, wanted text; YAML reads a bare no or off as false"),
    ({"data": {"train": [{"files": {False: "a.no", "en": "a.en"}}]}}, "data.train[0].files: the key false is not text"),
    # types and ranges
    ({"finetune": {"learning_rate": "fast"}}, "finetune.learning_rate: 'fast' given, wanted a number"),
    ({"layers": {"k": "1:30"}}, "layers.k: '1:30' given, wanted a whole number"),
    ({"seeds": []}, "seeds: [] given, wanted at least 1 value"),
    ({"finetune": {"batch_size": 0}}, "finetune.batch_size: 0 given, wanted at least 1"),
    ({"translate": {"beams": 3000}}, "translate.beams: 3000 given, wanted at most 100"),
    ({"translate": {"max_new_tokens": 10**9}}, "translate.max_new_tokens: 1000000000 given, wanted at most 100000"),
    ({"awareness": {"batch_size": 10**9}}, "awareness.batch_size: 1000000000 given, wanted at most 10000"),
    ({"finetune": None}, "finetune: nothing given, wanted a mapping of keys to values; remove the empty section"),
    ({"neurons": {"general_share": 1.5}}, "neurons.general_share: 1.5 given, wanted at most 1"),
    ({"neurons": {"general_share": -0.1}}, "neurons.general_share: -0.1 given, wanted at least 0"),
    ({"layers": {"side": "uper"}}, "layers.side: 'uper' given, wanted 'lower' or 'upper'; did you mean upper?"),
    ({"run": "../x"}, "run: '../x' given, wanted letters and digits"),
    ({"run": "README.md"}, "run: README.md: results/README.md is a file, and a run is a folder; choose another name"),
    ({"run": "slurm-logs"}, "run: slurm-logs: results/slurm-logs is where the profile slurm puts SLURM's logs; choose"),
    ({"finetune": {"zero_stage": 4}}, "finetune.zero_stage: 4 given, wanted 0, 1, 2 or 3"),
    ({"data": {"cleaning": {"order": ["length", "polish"]}}}, "data.cleaning.order[1]: 'polish' given, wanted 'rep"),
    ({"data": {"cleaning": {"languages": {"zh": {"length": {"max": "x"}}}}}}, "cleaning.languages.zh.length.max: 'x'"),
    # languages, directions, methods, seeds
    ({"languages": ["en", "qqq"]}, "languages: no name is known for the code 'qqq'; write `languages` as a mapping"),
    ({"directions": ["en"]}, "direction 'en': write it as en-de"),
    ({"directions": ["en-en"]}, "direction 'en-en': source and target are the same language"),
    ({"directions": ["en-cs"]}, "directions: en-cs: cs is not in `languages` (en, de, it, fr, ar, zh); add it there"),
    ({"directions": ["en-de", "de-en", "en-de"]}, "directions: en-de is there twice; remove one"),
    ({"methods": ["lorra"]}, "methods[0]: 'lorra' given, wanted 'zero-shot', 'in-context'"),
    ({"methods": ["lora", "lora"]}, "methods: lora is there twice"),
    ({"seeds": [1, 1]}, "seeds: 1 is there twice"),
    ({"awareness": {"estimator": "ablation", "neurons": 8}}, "awareness.neurons: 8 of each layer are scored"),
    ({"awareness": {"languages": ["en", "de"]}}, "awareness.languages: it, fr, ar, zh of `languages` missing"),
    ({"evaluate": {"baselines": ["full", "lara/main"]}}, "evaluate.baselines: lara/main is not in `methods`"),
    ({"external": {"lora": "outputs"}}, "external: lora is a method of Lander; give the system another name"),
    ({"external": {"nllb": "outputs"}}, "external: nllb: outputs/cldr/en-de.txt: no such file"),
    ({"experiments": {"untrained": ["en-de"]}}, "experiments.untrained: en-de is in `directions`, so it is trained"),
    # how keys go together
    ({"layers": {"k": 4}}, "layers.k: 4 is more than the 3 layers of base; use 0 to 3"),
    ({"model": {"path": "pretrain"}, "layers": {"k": 7}}, "layers.k: 7 is more than the 6 layers of pretrain"),
    ({"finetune": {"accumulate": 5, "ranks": 2}}, "finetune.accumulate: 5 micro-batches cannot be shared by finetune"),
    ({"finetune": {"ranks": 3}}, "finetune.accumulate: 10 micro-batches cannot be shared by finetune.ranks: 3"),
    ({"translate": {"template": "sentense"}}, "translate.template: sentense: no such template; did you mean sentence?"),
    ({"pretrain": {"n_head": 3}}, "pretrain.n_head: d_model 128 is not divisible by 3 heads"),
    # the base
    ({"model": {"path": "./none"}}, "model.path: ./none: no such folder"),
    ({"model": {"path": "lander-tini"}}, "model.path: lander-tini: no such folder, and not a model on the hub"),
    ({"model": {"path": "bare"}}, "model.path: bare: the model folder has no weights (*.safetensors); copy the model"),
    (
        {"model": {"path": "results/r/pretrain"}},
        "has no weights (*.safetensors); make it again: `rm results/r/pretrain/lander.json && snakemake --cores 1 --",
    ),
    ({"model": {"path": "odd"}}, "model.path: odd: not a model folder, it has no config.json"),
    # names that Snakemake would read otherwise
    ({"model": {"path": "my {x}"}}, "model.path: my {x}: Snakemake would put a value in place of {x}; rename it, or"),
    ({"model": {"path": "braces"}}, "model.path: braces/{seed}.json: Snakemake would put a value in place of {seed}"),
    ({"data": {"templates": "<results>/t"}}, "data.templates: <results>/t: Snakemake would put a value in place of <r"),
    ({"neurons": {"masks": "m{ x , .+}"}}, "neurons.masks: m{ x , .+}: Snakemake would put a value in place of { x ,"),
    ({"evaluate": {"neural": [{"name": "c", "model": "{x}"}]}}, "evaluate.neural[0].model: {x}: Snakemake would put"),
    ({"data": {"train": [{"files": {"en": "{pair}.en"}}]}}, "data.train[0].files.en: {pair}.en: Snakemake would put"),
    ({"data": {"exclude": [{"tsv": "{pair}"}]}}, "data.exclude[0].tsv: {pair}: Snakemake would put a value in place"),
    ({"data": {"test": [{"tmx": "{x}.tmx"}]}}, "data.test[0].tmx: {x}.tmx: Snakemake would put a value in place of"),
    ({"data": {"dev": [{"hf": "braces", "config": "en-de"}]}}, "data.dev[0]: braces/{seed}.json: Snakemake would put"),
    ({"run": "{x}"}, "run: '{x}' given, wanted letters and digits"),
    ({"languages": {"en": "English", "{x}": "X"}}, "languages: '{x}' is no code; use letters, digits and - in between"),
    ({"languages": {"en": "English", "de--x": "X"}}, "languages: 'de--x' is no code"),
    ({"data": {"test": [{**FILES, "name": "{x}"}]}}, "data.test[0].name: '{x}' given, wanted letters and digits"),
    # sources
    ({"data": {"train": [{}]}}, "data.train[0]: a source is exactly one of builtin, files, tsv, hf, tmx, sacrebleu"),
    ({"data": {"train": [{**CLDR, **FILES}]}}, "data.train[0]: a source is exactly one of builtin, files, tsv, hf, tm"),
    ({"data": {"train": [{**FILES, "split": "train"}]}}, "data.train[0]: split belongs to a source of the kind hf"),
    ({"data": {"train": [{"files": {"en": "a.en", "de": "b.de"}}]}}, "data.train[0]: b.de: no such file (paths are"),
    ({"data": {"train": [{"tsv": "a", "columns": 3}]}}, "columns: 3 given, wanted a list or a mapping of keys"),
    ({"data": {"train": [{"tsv": "a", "columns": {"en": 3}}]}}, "data.train[0].columns.en: 3 given, wanted text"),
    ({"data": {"train": [{"tsv": "a.en"}]}}, "data.train[0]: a tsv source needs the languages of its columns"),
    ({"data": {"train": [{"hf": "owner/name"}]}}, "data.train[0]: its languages are not known; add `config: en-de`"),
    ({"data": {"train": [{"hf": "./none", "config": "en-de"}]}}, "data.train[0].hf: ./none: no such folder"),
    ({"data": {"train": [{**CLDR, "lines": [5, 5]}]}}, "data.train[0]: lines: [5, 5] holds no line"),
    ({"data": {"train": [{**CLDR, "lines": [5]}]}}, "data.train[0].lines: [5] given, wanted at least 2 values"),
    ({"data": {"train": [{**CLDR, "directions": ["x"]}]}}, "direction 'x': write it as en-de"),
    ({"data": {"train": [{**FILES, "name": "x"}, {**CLDR, "name": "x"}]}}, "data.train: the name x is given to 2 sou"),
    ({"data": {"train": [FILES]}}, "data.train: no source has text for en-it; add one with both languages, or remove"),
    ({"data": {"train": []}}, "data.train: no source has text for en-de"),
    ({"data": {"dev": []}}, "data.dev: no source has text for en-de"),
    ({"data": {"test": [{**FILES, "name": "x"}]}}, "data.test: no source has text for en-it"),
    ({"data": {"test": [CLDR]}}, "data.test[0]: a test source needs a name; add `name: news`, for example"),
    ({"data": {"test": [{**X, "lines": [9000, 9001]}, {**X, "lines": [9001, 9002]}]}}, "data.test: two sources named"),
    ({"data": {"test": [{**X, "lines": [0, 10]}]}}, "data.test: lines [0, 10] of cldr"),
    ({"data": {"templates": "none.yaml"}}, "none.yaml: no such file"),
    ({"neurons": {"masks": "none"}}, "neurons.masks: none: no such folder"),
    ({"neurons": {"masks": "masks"}}, "neurons.masks: masks: has no <direction>.parquet for any of `directions`"),
    ({"languages": ["en", "cs"], "directions": ["en-cs"]}, "data.train: the built-in corpus cldr has no cs (it has ar"),
    ({"languages": ["en", "zh-TW"], "directions": [["en", "zh-TW"]]}, "data.train: the built-in corpus cldr has no"),
    ({"languages": ["en", "de", "ger"], "directions": ["en-de"]}, "awareness.languages: de and ger are the same langu"),
    ({"awareness": {"data": [FILES]}}, "awareness.data: no source has text in it; add one, or remove the language"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=[message[:60] for _, message in REFUSED])
def test_what_is_wrong_is_told_in_one_line(folder: Path, changes: dict[str, Any], message: str) -> None:
    assert message in error(demo(**config.merge({"layers": {"k": 2}}, changes)))


def test_missing_key_and_broken_file(folder: Path) -> None:
    asked = error({"languages": ["en", "de"]})
    assert all(key in asked for key in ("directions", "model.path", "data.train", "data.dev", "data.test"))
    assert "languages" not in asked
    assert "direction: no such key" in error({"languages": ["en", "de"], "direction": ["en-de"]})
    (folder / "broken.yaml").write_text("a: [1")
    with pytest.raises(UserError, match=r"broken\.yaml: cannot be read as YAML"):
        config.read("broken.yaml")
    with pytest.raises(UserError, match=r"none\.yaml: no such file"):
        config.read("none.yaml")


def test_the_demo_is_nobodys_default(folder: Path) -> None:
    """A user's file stands on the documented defaults: those of a real model, and all of the user's text."""
    Path("mine.yaml").write_text(yaml.safe_dump(two_languages()))
    mine = config.read("mine.yaml")
    assert mine.finetune.method("full").learning_rate == 5e-5
    assert mine.finetune.method("lora").learning_rate == 2e-4
    assert mine.data.max_pairs == 0
    assert (mine.finetune.max_length, mine.translate.max_new_tokens) == (2048, 512)
    assert not any(source.kind == "builtin" for source in (*mine.data.train, *mine.awareness.data))
    demo = config.read()
    assert (demo.run, demo.finetune.method("lora").learning_rate) == ("demo", 0.005)
    assert config.differences(config.merged("mine.yaml")) == {"layers.k": (1, 4)}


def test_what_looks_wrong_is_warned_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "TOY_BYTES", 1)
    raw = two_languages(finetune={"learning_rate": 0.005, "lora": {"learning_rate": 1e-4}})
    rates, excluded = list(checks.warnings(config.load(raw)))[-2:]
    pinned = config.load(config.merge(raw, {"model": {"revision": "v1"}}))
    assert any(line.startswith("model.revision: v1 is not used") for line in checks.warnings(pinned))
    assert "full 0.005" in rates
    assert "lora" not in rates
    assert excluded.startswith("data.exclude: the test set t ")
    part = [{"files": {"cs": "a.cs", "uk": "a.uk", "en": "a.en"}, "lines": [1, None]}]
    fine = config.load(config.merge(raw, {"data": {"exclude": part}, "finetune": {"learning_rate": 1e-4}}))
    assert [line for line in checks.warnings(fine) if not line.startswith("awareness.languages")] == []


def test_words_that_yaml_reads_otherwise(folder: Path) -> None:
    raw = yaml.safe_load("{finetune: {learning_rate: 5e-5}, routing: {gate: off}, layers: {k: 2}}")
    assert raw["routing"]["gate"] is False
    raw["finetune"] |= {"steps": "7", "clip": "0.5"}  # as Snakemake reads --config finetune='{steps: 7, clip: 0.5}'
    raw["workflow"] = {"code_triggers": "false"}
    settings_ = config.load(demo(**raw))
    assert settings_.finetune.learning_rate == 5e-5
    assert (settings_.finetune.steps, settings_.finetune.clip) == (7, 0.5)
    assert settings_.workflow.code_triggers is False
    assert settings_.routing.gate == "off"


def two_languages(**changes: Any) -> dict[str, Any]:
    """A config for cs-uk alone, on files."""
    text = {"files": {"cs": "a.cs", "uk": "a.uk", "en": "a.en"}, "lines": [1, 2]}
    data = {"train": [{**text, "lines": [0, 1]}], "dev": [text], "test": [{**text, "name": "t"}]}
    raw = {"languages": ["cs", "uk"], "directions": ["cs-uk"], "model": {"path": "base"}, "layers": {"k": 1}}
    return config.merge(raw | {"data": data}, changes)


def test_nothing_is_tied_to_english(folder: Path, capsys: pytest.CaptureFixture) -> None:
    settings_ = config.load(two_languages())
    assert settings_.languages == {"cs": "Czech", "uk": "Ukrainian"}
    assert settings_.awareness.languages == ("cs", "uk")
    assert "warning: awareness.languages: " in capsys.readouterr().err
    contrast = config.load(two_languages(awareness={"languages": ["cs", "uk", "en"]}))
    assert "awareness.languages" not in capsys.readouterr().err
    assert config.names(contrast) == {"cs": "Czech", "uk": "Ukrainian", "en": "English"}


def test_languages_as_a_mapping_and_codes_with_hyphens(folder: Path) -> None:
    assert config.load(two_languages(languages={"cs": "Bohemian", "uk": "Ukrainian"})).languages["cs"] == "Bohemian"
    raw = two_languages(languages=["zh-Hant", "en"], directions=[["zh-Hant", "en"]])
    files = {"zh-Hant": "a.cs", "en": "a.en"}
    parts = {"train": [0, 1], "dev": [1, 2], "test": [1, 2]}
    raw["data"] = {key: [{"name": key, "files": files, "lines": lines}] for key, lines in parts.items()}
    settings_ = config.load(raw)
    assert [str(direction) for direction in settings_.directions] == ["zh-Hant--en"]
    assert settings_.languages["zh-Hant"] == "Chinese (Traditional)"


def test_three_letter_codes_are_the_same_languages(folder: Path) -> None:
    raw = demo(languages=["eng", "zho", "por-BR"], directions=["eng-zho", "zho-eng"])
    settings_ = config.load(raw)
    assert settings_.languages == {"eng": "English", "zho": "Chinese", "por-BR": "Portuguese (Brazil)"}
    (source,) = settings_.data.train
    codes = ("zho", "por-BR")
    assert next(read(source, codes)) == next(read(source, ("zh", "pt")))
    assert aligned(source, codes)


@pytest.mark.parametrize(("code", "extra"), [("ja", "ja"), ("jpn", "ja"), ("ko-KR", "ko"), ("kor", "ko")])
def test_a_tokenizer_that_is_not_installed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, code: str, extra: str
) -> None:
    """Only where the language is a target; it would be missed after all trainings."""
    from sacrebleu.tokenizers import tokenizer_ja_mecab, tokenizer_ko_mecab

    monkeypatch.setattr(tokenizer_ja_mecab, "MeCab", None)
    monkeypatch.setattr(tokenizer_ko_mecab, "MeCab", None)
    one = {"languages": ["en", code], "directions": [["en", code]]}
    assert f'run `pip install "sacrebleu[{extra}]"`' in error(demo(**one))
    assert config.load(demo(**one | {"directions": [[code, "en"]]}))


def test_what_is_not_needed_may_be_missing(folder: Path) -> None:
    data = {**two_languages()["data"], "train": [], "dev": []}
    assert config.load({**two_languages(methods=["zero-shot"]), "data": {**data, "dev": data["test"]}})
    assert config.load({**two_languages(methods=["lora"]), "data": {**two_languages()["data"], "dev": []}})


def test_defaults_that_depend_on_other_keys(folder: Path) -> None:
    settings_ = config.load(demo(layers={"k": 2}, finetune={"learning_rate": 0.5, "lora": {"learning_rate": 0.25}}))
    assert settings_.finetune.accumulate == 10
    assert settings_.finetune.method("lora").learning_rate == 0.25
    assert settings_.finetune.method("landermt").learning_rate == 0.5
    assert settings_.awareness.data == settings_.pretrain.text == settings_.data.train
    assert (settings_.layers.side, settings_.routing.gate, settings_.finetune.scope) == ("upper", "learned", "layer")
    changed = config.load(demo(readings="paper", layers={"k": 2, "side": "upper"}))
    assert (changed.layers.side, changed.layers.difference, changed.routing.gate) == ("upper", "scalar", "static")
    assert config.other_readings(changed) == ["layers.side: upper"]


def test_paths_that_begin_with_a_dash_are_no_flags(folder: Path) -> None:
    (folder / "base").rename(folder / "-base")
    (folder / "masks").rename(folder / "-m")
    (folder / "-m" / "en-de.parquet").touch()
    (folder / "-t.yaml").write_text('- {name: plain, text: "{source}\\n"}\n')
    metric = {"name": "own", "model": "-x.ckpt", "command": ["true"]}
    (folder / "-x.ckpt").touch()
    paths = {"model": {"path": "-base"}, "neurons": {"masks": "-m"}, "data": {"templates": "-t.yaml"}}
    raw = demo(**paths, translate={"template": "plain"}, evaluate={"neural": [metric]})
    loaded = config.load(raw)
    found = [loaded.model.path, loaded.neurons.masks, loaded.data.templates, loaded.evaluate.neural[0].model]
    assert found == ["./-base", "./-m", "./-t.yaml", "./-x.ckpt"]
    (folder / "-t.yaml").write_text('- {name: -plain, text: "{source}\\n"}\n')
    assert "its name begins with a dash" in error(raw)


@pytest.mark.parametrize("name", ["ä b", 'it\'s "x"', "100%s", "{", "}{", "$HOME `x`;&", "*[a]?"])
def test_names_that_need_no_care_are_kept(folder: Path, name: str) -> None:
    (folder / "base").rename(folder / name)
    (folder / "a.en").rename(folder / f"{name}.en")
    loaded = config.load(demo(model={"path": name}, data={"exclude": [{"files": {"en": f"{name}.en"}}]}))
    assert loaded.model.path == name
    assert loaded.data.exclude[0].paths() == [f"{name}.en"]


def test_a_path_may_begin_in_the_home_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    loaded = config.load(demo(model={"path": "~/base"}, data={"exclude": [{"files": {"en": "~/a.en"}}]}))
    assert loaded.base.folder == folder / "base"
    assert loaded.data.exclude[0].paths() == [str(folder / "a.en")]


def test_names_of_sources(folder: Path) -> None:
    (folder / "news").mkdir()
    for code in ("en", "de"):
        (folder / "news" / f"{code}.txt").write_text("x\n")
    news, opus = {"files": {"en": "news/en.txt", "de": "news/de.txt"}}, {"hf": "owner/opus-100", "config": "de-en"}
    sources = [CLDR, {**CLDR, "lines": [50, 60]}, news, FILES, {"tsv": "a.en", "columns": ["en", "de"]}]
    sources += [opus, {**opus, "name": "opus"}]
    parsed = check_sources([validate(Source, source) for source in sources], "data.train")
    assert [source.name for source in parsed] == ["cldr", "cldr-2", "news", "files", "a.en", "opus-100-de-en", "opus"]
    assert all(source.json["name"] == source.name for source in parsed)
    assert parsed[2].paths(["de"]) == ["news/de.txt"]
    assert parsed[5].languages == ("de", "en")
    assert parsed[5].remote


def test_a_test_set_in_parts(folder: Path) -> None:
    (folder / "b.it").write_text("x\n")
    other = {"name": "t", "files": {"en": "a.en", "de": "b.it"}, "directions": ["de-en"]}
    parts = [{**FILES, "name": "t", "directions": ["en-de"]}, other, {**FILES, "name": "u"}]
    settings_ = config.load(demo(layers={"k": 2}, directions=["en-de", "de-en"], data={"test": parts}))
    served = {name: list(map(str, directions)) for name, directions in settings_.tested(settings_.directions).items()}
    assert served == {"t": ["en-de", "de-en"], "u": ["en-de", "de-en"]}


def test_the_effective_config_gives_the_same_config(folder: Path) -> None:
    settings_ = config.load(demo(layers={"k": 2}))
    assert config.load(yaml.safe_load(yaml.safe_dump(json.loads(json.dumps(config.effective(settings_)))))) == settings_


def test_later_config_files_win_as_with_snakemake(folder: Path) -> None:
    Path("a.yaml").write_text(yaml.safe_dump({**two_languages(), "run": "a", "layers": {"k": 2}}))
    Path("b.yaml").write_text("run: b\nseeds: [7]\n")
    both = config.read("a.yaml", "b.yaml")
    assert (both.run, both.seeds, both.layers.k) == ("b", (7,), 2)
    assert config.read("b.yaml", "a.yaml").run == "a"
    below = {"a": {"b": 1, "c": [1, 2]}, "languages": ["en", "de"], "d": 1}
    above = {"a": {"c": [3]}, "languages": {"cs": "Czech"}, "e": {"f": 1}}
    merged = json.loads(json.dumps(below))
    update_config(merged, above)
    assert config.merge(below, above) == merged


# ---------------------------------------------------------------- declared once


def test_every_key_is_explained() -> None:
    found = {key.name: key for key in keys(Config)}
    assert all(len(key.about) > 5 for key in found.values())
    assert {name for name, key in found.items() if key.readings} == SWITCHES
    assert {name for name, key in found.items() if key.field.is_required()} == REQUIRED


def test_made_files_are_up_to_date() -> None:
    for file, text in ((schema.SCHEMA, schema.schema_text()), (schema.DEFAULTS, schema.defaults_text())):
        assert (ROOT / file).read_text(encoding="utf-8") == text, "run: python -m lander.config.schema"


def test_the_file_of_defaults_says_what_an_absent_key_is(folder: Path) -> None:
    given = {**two_languages(), "run": "run"}
    defaults = yaml.safe_load((ROOT / schema.DEFAULTS).read_text(encoding="utf-8"))
    assert config.load(config.merge(defaults, given)) == config.load(given)


def test_the_schema_takes_what_the_config_takes() -> None:
    checker = Draft202012Validator(yaml.safe_load((ROOT / schema.SCHEMA).read_text(encoding="utf-8")))
    for file in [ROOT / "config.yaml", *(ROOT / "config").glob("*.yaml")]:
        checker.validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    assert not checker.is_valid({"finetune": {"stepz": 1}})
    assert not checker.is_valid({"layers": {"k": "many"}})


SHIPPED = sorted(file for file in (ROOT / "config").glob("*.yaml") if file.name != Path(schema.DEFAULTS).name)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_shipped_configs_are_whole_and_known(file: Path) -> None:
    try:
        config.read(file)
        wrong = ""
    except UserError as error:
        wrong = str(error)
    assert not wrong or "no such f" in wrong  # only text or a model that is not here


def test_the_config_loads_without_heavy_imports() -> None:
    """Parsing the workflow costs every user, every time."""
    heavy = ["torch", "transformers", "pandas", "datasets"]
    code = f"import lander.config, lander.workflow, sys; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"\[\]\s*", found), found
