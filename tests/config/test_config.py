"""The config: what is refused, in which words; what is filled in; schema, dataclasses and config.yaml in step."""

import dataclasses
import json
import re
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.utils import update_config

from lander.config import config, readings
from lander.config.methods import TRAINED
from lander.config.schema import keys, validate
from lander.config.sources import parse_sources
from lander.config.types import Config
from lander.data import settings
from lander.shared.errors import UserError

ROOT = Path(__file__).parents[2]
SWITCHES = {f"{section}.{key}" for section, values in readings.READINGS["repaired"].items() for key in values}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with two aligned files, a model folder and a broken one."""
    for name in ("a.en", "a.de", "a.cs", "a.uk"):
        (tmp_path / name).write_text("one\ntwo\n")
    for name in ("base", "bare", "odd"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"model_type": "llama", "num_hidden_layers": 3}))
    (tmp_path / "base" / "model.safetensors").write_text("weights")
    (tmp_path / "odd" / "config.json").unlink()
    (tmp_path / "masks").mkdir()
    (tmp_path / "results").mkdir()
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
    ({"finetune": {"steps": "many"}}, "finetune.steps: 'many' given, wanted a whole number or null"),
    ({"finetune": {"learning_rate": "fast"}}, "finetune.learning_rate: 'fast' given, wanted a number"),
    ({"layers": {"k": "1:30"}}, "layers.k: '1:30' given, wanted a whole number"),
    ({"seeds": []}, "seeds: [] given, wanted at least 1 value"),
    ({"finetune": {"batch_size": 0}}, "finetune.batch_size: 0 given, wanted at least 1"),
    ({"finetune": None}, "finetune: nothing given, wanted a mapping of keys to values; remove the empty section"),
    ({"neurons": {"general_share": 1.5}}, "neurons.general_share: 1.5 given, wanted at most 1"),
    ({"neurons": {"general_share": -0.1}}, "neurons.general_share: -0.1 given, wanted at least 0"),
    ({"layers": {"side": "uper"}}, "layers.side: 'uper' given, wanted 'lower' or 'upper'; did you mean upper?"),
    ({"readings": "papre"}, "readings: 'papre' given, wanted 'repaired' or 'paper'; did you mean paper?"),
    ({"run": "../x"}, "run: '../x' given, wanted letters and digits"),
    ({"run": "README.md"}, "run: README.md: results/README.md is a file, and a run is a folder; choose another name"),
    ({"run": "slurm-logs"}, "run: slurm-logs: results/slurm-logs is where the profile slurm puts SLURM's logs; choose"),
    ({"finetune": {"zero_stage": 4}}, "finetune.zero_stage: 4 given, wanted 0, 1, 2 or 3"),
    (
        {"data": {"cleaning": {"order": ["length", "polish"]}}},
        "data.cleaning.order[1]: 'polish' given, wanted 'repair'",
    ),
    (
        {"data": {"cleaning": {"languages": {"zh": {"length": {"max": "x"}}}}}},
        "data.cleaning.languages.zh.length.max: 'x'",
    ),
    # languages, directions, methods, seeds
    ({"languages": ["en", "qqq"]}, "languages: no name is known for the code 'qqq'; write `languages` as a mapping"),
    ({"directions": ["en"]}, "direction 'en': write it as en-de"),
    ({"directions": ["en-en"]}, "direction 'en-en': source and target are the same language"),
    ({"directions": ["en-cs"]}, "directions: en-cs: cs is not in `languages` (en, de, it, fr, ar, zh); add it there"),
    ({"directions": ["en-de", "de-en", "en-de"]}, "directions: en-de is there twice; remove one"),
    ({"methods": ["lorra"]}, "methods: lorra: no such method; did you mean lora?"),
    ({"methods": ["qqq"]}, "methods: qqq: no such method; there are: zero-shot, in-context, full, layers, "),
    ({"methods": ["lora", "lora"]}, "methods: lora is there twice"),
    ({"seeds": [1, 1]}, "seeds: 1 is there twice"),
    (
        {"awareness": {"estimator": "ablation", "neurons": 8}},
        "awareness.neurons: 8 of each layer are scored",
    ),
    ({"awareness": {"languages": ["en", "de"]}}, "awareness.languages: it, fr, ar, zh of `languages` missing"),
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
    ({"model": {"path": "bare"}}, "model.path: bare: the model folder has no weights (*.safetensors); copy them there"),
    ({"model": {"path": "odd"}}, "model.path: odd: not a model folder, it has no config.json"),
    # sources
    ({"data": {"train": [{}]}}, "data.train[0]: a source is exactly one of builtin, files, tsv, hf, tmx, sacrebleu"),
    ({"data": {"train": [{**CLDR, **FILES}]}}, "data.train[0]: a source is exactly one of builtin, files, tsv, hf, tm"),
    ({"data": {"train": [{**FILES, "split": "train"}]}}, "data.train[0].split: belongs to a source of the kind hf"),
    (
        {"data": {"train": [{"files": {"en": "a.en", "de": "b.de"}}]}},
        "data.train[0]: b.de: no such file (paths are rel",
    ),
    ({"data": {"train": [{"tsv": "a.en"}]}}, "data.train[0]: a tsv source needs the languages of its columns"),
    ({"data": {"train": [{"hf": "owner/name"}]}}, "data.train[0]: its languages are not known; add `config: en-de`"),
    ({"data": {"train": [{"hf": "./none", "config": "en-de"}]}}, "data.train[0].hf: ./none: no such folder"),
    ({"data": {"train": [{**CLDR, "lines": [5, 5]}]}}, "data.train[0].lines: [5, 5] holds no line"),
    ({"data": {"train": [{**CLDR, "lines": [5]}]}}, "data.train[0].lines: [5] given, wanted at least 2 values"),
    ({"data": {"train": [{**CLDR, "directions": ["x"]}]}}, "direction 'x': write it as en-de"),
    (
        {"data": {"train": [{**FILES, "name": "x"}, {**CLDR, "name": "x"}]}},
        "data.train: the name x is given to 2 sources",
    ),
    ({"data": {"train": [FILES]}}, "data.train: no source has text for en-it; add one with both languages, or remove"),
    ({"data": {"train": []}}, "data.train: no source has text for en-de"),
    ({"data": {"dev": []}}, "data.dev: no source has text for en-de"),
    ({"data": {"test": [{**FILES, "name": "x"}]}}, "data.test: no source has text for en-it"),
    ({"data": {"test": [CLDR]}}, "data.test[0]: a test source needs a name; add `name: news`, for example"),
    (
        {
            "data": {
                "test": [{**CLDR, "name": "x", "lines": [9000, 9001]}, {**CLDR, "name": "x", "lines": [9001, 9002]}]
            }
        },
        "data.test: two sources named x have text for en-de; give each its own name",
    ),
    ({"data": {"test": [{**CLDR, "name": "x", "lines": [0, 10]}]}}, "data.test: lines [0, 10] of cldr"),
    ({"data": {"templates": "none.yaml"}}, "none.yaml: no such file"),
    ({"neurons": {"masks": "none"}}, "neurons.masks: none: no such folder"),
    ({"neurons": {"masks": "masks"}}, "neurons.masks: masks: has no <direction>.parquet for any of `directions`"),
    (
        {"languages": ["en", "cs"], "directions": ["en-cs"]},
        "data.train: the built-in corpus cldr has no cs (it has ar,",
    ),
    ({"awareness": {"data": [FILES]}}, "awareness.data: no source has text in it; add one, or remove the language"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=[message[:60] for _, message in REFUSED])
def test_what_is_wrong_is_told_in_one_line(folder: Path, changes: dict[str, Any], message: str) -> None:
    assert message in error(demo(**config.merge({"layers": {"k": 2}}, changes)))


def test_missing_key_and_broken_file(folder: Path) -> None:
    assert error({"languages": ["en", "de"]}) == "directions: missing; add it"
    (folder / "broken.yaml").write_text("a: [1")
    with pytest.raises(UserError, match=r"broken\.yaml: cannot be read as YAML"):
        config.read("broken.yaml")
    with pytest.raises(UserError, match=r"none\.yaml: no such file"):
        config.read("none.yaml")


def test_later_config_files_win(folder: Path) -> None:
    Path("a.yaml").write_text("run: a\nlayers: {k: 2}\nmodel: {path: base}\n")
    Path("b.yaml").write_text("run: b\nseeds: [7]\n")
    both = config.read("a.yaml", "b.yaml")
    assert (both.run, both.seeds, both.layers.k) == ("b", (7,), 2)
    assert config.read("b.yaml", "a.yaml").run == "a"


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
    files = {"cs": "a.cs", "uk": "a.uk", "en": "a.en"}
    raw = {
        "languages": ["cs", "uk"],
        "directions": ["cs-uk"],
        "model": {"path": "base"},
        "layers": {"k": 1},
        "data": {
            "train": [{"files": files, "lines": [0, 1]}],
            "dev": [{"files": files, "lines": [1, 2]}],
            "test": [{"files": files, "lines": [1, 2], "name": "t"}],
        },
    }
    return config.merge(raw, changes)


def test_nothing_is_tied_to_english(folder: Path, capsys: pytest.CaptureFixture) -> None:
    settings_ = config.load(two_languages())
    assert settings_.languages == {"cs": "Czech", "uk": "Ukrainian"}
    assert settings_.awareness.languages == ("cs", "uk")
    warning = capsys.readouterr().err
    assert "awareness.languages: every scored language takes part in every direction" in warning
    assert warning.count("\n") == 1
    contrast = config.load(two_languages(awareness={"languages": ["cs", "uk", "en"]}))
    assert capsys.readouterr().err == ""
    assert config.names(contrast) == {"cs": "Czech", "uk": "Ukrainian", "en": "English"}


def test_languages_as_a_mapping(folder: Path) -> None:
    settings_ = config.load(two_languages(languages={"cs": "Bohemian", "uk": "Ukrainian"}))
    assert settings_.languages["cs"] == "Bohemian"


def test_codes_with_hyphens(folder: Path) -> None:
    raw = two_languages(languages=["zh-Hant", "en"], directions=[["zh-Hant", "en"]])
    files = {"zh-Hant": "a.cs", "en": "a.en"}
    parts = {"train": [0, 1], "dev": [1, 2], "test": [1, 2]}
    raw["data"] = {key: [{"name": key, "files": files, "lines": lines}] for key, lines in parts.items()}
    settings_ = config.load(raw)
    assert [str(direction) for direction in settings_.directions] == ["zh-Hant--en"]
    assert settings_.languages["zh-Hant"] == "Chinese (Traditional)"


def test_what_is_not_needed_may_be_missing(folder: Path) -> None:
    data = {**two_languages()["data"], "train": [], "dev": []}
    assert config.load({**two_languages(methods=["zero-shot"]), "data": {**data, "dev": data["test"]}})
    assert config.load({**two_languages(methods=["lora"]), "data": {**two_languages()["data"], "dev": []}})


def test_defaults_that_depend_on_other_keys(folder: Path) -> None:
    settings_ = config.load(demo(layers={"k": 2}, finetune={"learning_rate": 0.5, "lora": {"learning_rate": 0.25}}))
    assert settings_.finetune.accumulate == 10
    assert settings_.finetune.method("lora")["learning_rate"] == 0.25
    assert settings_.finetune.method("landermt")["learning_rate"] == 0.5
    assert settings_.awareness.data == settings_.data.train
    assert settings_.pretrain.text == settings_.data.train


def test_readings_and_single_keys(folder: Path) -> None:
    repaired = config.load(demo(layers={"k": 2}))
    assert (repaired.layers.side, repaired.routing.gate, repaired.finetune.scope) == ("upper", "learned", "layer")
    changed = config.load(demo(layers={"k": 2, "side": "lower"}))
    assert (changed.layers.side, changed.layers.difference) == ("lower", "vector")


def test_paths_that_begin_with_a_dash_are_no_flags(folder: Path) -> None:
    (folder / "base").rename(folder / "-base")
    (folder / "masks").rename(folder / "-m")
    (folder / "-m" / "en-de.parquet").touch()
    (folder / "-t.yaml").write_text('- {name: plain, text: "{source}\\n"}\n')
    metric = {"name": "own", "model": "-x.ckpt", "command": ["true"]}
    (folder / "-x.ckpt").touch()
    raw = demo(
        model={"path": "-base"},
        neurons={"masks": "-m"},
        data={"templates": "-t.yaml"},
        translate={"template": "plain"},
        evaluate={"neural": [metric]},
    )
    loaded = config.load(raw)
    found = [loaded.model.path, loaded.neurons.masks, loaded.data.templates, loaded.evaluate.neural[0].model]
    assert found == ["./-base", "./-m", "./-t.yaml", "./-x.ckpt"]
    (folder / "-t.yaml").write_text('- {name: -plain, text: "{source}\\n"}\n')
    assert "its name begins with a dash" in error(raw)


def test_names_of_sources(folder: Path) -> None:
    (folder / "news").mkdir()
    for code in ("en", "de"):
        (folder / "news" / f"{code}.txt").write_text("x\n")
    sources = [
        CLDR,
        {**CLDR, "lines": [50, 60]},
        {"files": {"en": "news/en.txt", "de": "news/de.txt"}},
        {"files": {"en": "a.en", "de": "a.de"}},
        {"tsv": "a.en", "columns": ["en", "de"]},
        {"hf": "owner/opus-100", "config": "de-en"},
        {"hf": "owner/opus-100", "config": "de-en", "name": "opus"},
    ]
    parsed = parse_sources(sources, "data.train")
    assert [source.name for source in parsed] == ["cldr", "cldr-2", "news", "files", "a.en", "opus-100-de-en", "opus"]
    assert all(source.json["name"] == source.name for source in parsed)
    assert parsed[2].files(["de"]) == ["news/de.txt"]
    assert parsed[5].languages == ("de", "en")
    assert parsed[5].remote


def test_a_test_set_in_parts(folder: Path) -> None:
    (folder / "b.it").write_text("x\n")
    parts = [
        {"name": "t", "files": {"en": "a.en", "de": "a.de"}, "directions": ["en-de"]},
        {"name": "t", "files": {"en": "a.en", "de": "b.it"}, "directions": ["de-en"]},
        {"name": "u", "files": {"en": "a.en", "de": "a.de"}},
    ]
    settings_ = config.load(demo(layers={"k": 2}, directions=["en-de", "de-en"], data={"test": parts}))
    served = {name: list(map(str, directions)) for name, directions in settings_.tests.items()}
    assert served == {"t": ["en-de", "de-en"], "u": ["en-de", "de-en"]}


def test_the_effective_config_gives_the_same_config(folder: Path) -> None:
    settings_ = config.load(demo(layers={"k": 2}))
    text = yaml.safe_dump(json.loads(json.dumps(config.effective(settings_))))
    again = config.load(yaml.safe_load(text))
    assert again == settings_


def test_merging_is_that_of_snakemake() -> None:
    below = {"a": {"b": 1, "c": [1, 2]}, "languages": ["en", "de"], "d": 1}
    above = {"a": {"c": [3]}, "languages": {"cs": "Czech"}, "e": {"f": 1}}
    merged = json.loads(json.dumps(below))
    update_config(merged, above)
    assert config.merge(below, above) == merged


# ---------------------------------------------------------------- schema, dataclasses, config.yaml in step


def dataclass_keys(kind: type, prefix: str = "") -> set[str]:
    """Dotted names of all fields, sections included."""
    found = set()
    for name, hint in typing.get_type_hints(kind).items():
        key = prefix + name
        found.add(key)
        if dataclasses.is_dataclass(hint):
            found |= dataclass_keys(hint, f"{key}.")
    return found


def yaml_keys(value: Any, prefix: str = "") -> set[str]:
    """Dotted names of all keys of a mapping, sections included."""
    if not isinstance(value, dict):
        return set()
    return {f"{prefix}{key}" for key in value} | {
        name for key, item in value.items() for name in yaml_keys(item, f"{prefix}{key}.")
    }


def test_schema_and_dataclasses_have_the_same_keys() -> None:
    of_methods = tuple(f"finetune.{name}" for name in TRAINED)  # lander/config/methods.py has them
    in_schema = {key for key, _ in keys() if not key.startswith(("data.cleaning.", *of_methods))}
    assert dataclass_keys(Config) - {"finetune.methods"} == in_schema


def test_every_key_is_explained_and_has_a_default_unless_it_is_a_switch() -> None:
    required = {"languages", "directions"}
    for key, node in keys():
        assert len(node.get("description", "")) > 5, key
        assert ("default" in node) != (key in SWITCHES | required), key
    assert {key for key, _ in keys()} >= SWITCHES


def test_every_object_of_the_schema_is_strict() -> None:
    text = (ROOT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8")

    def check(node: Any, place: str) -> None:
        if isinstance(node, dict):
            if "properties" in node and isinstance(node.get("type"), str):
                assert node["additionalProperties"] is False, place
            for name, child in node.items():
                check(child, f"{place}.{name}")

    check(yaml.safe_load(text), "schema")


def test_config_yaml_shows_every_key_but_the_switches() -> None:
    shown = yaml_keys(yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8")))
    wanted = {key for key, _ in keys() if not key.startswith("data.cleaning.")} - SWITCHES
    wanted -= {"routing", "ablation"}  # sections of switches only
    of_methods = {key for name in TRAINED for key in wanted if f"{key}.".startswith(f"finetune.{name}.")}
    assert (
        wanted - of_methods <= shown <= wanted
    )  # lander/config/methods.py has those of the methods, and their defaults


def test_cleaning_defaults_are_those_of_the_data_stage() -> None:
    filled = validate({"languages": ["en", "de"], "directions": ["en-de"]})["data"]["cleaning"]
    assert filled["default"] == settings.DEFAULTS["default"]
    assert settings.resolve(filled) == settings.resolve({})


@pytest.mark.parametrize("file", sorted((ROOT / "config").glob("*.yaml")), ids=lambda file: file.name)
def test_shipped_configs_pass_the_schema(file: Path) -> None:
    raw = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    assert validate(config.merge(raw, yaml.safe_load(file.read_text(encoding="utf-8"))))


def test_config_yaml_loads() -> None:
    assert config.read().run == "demo"


def test_the_config_loads_without_heavy_imports() -> None:
    """Parsing the workflow costs every user, every time."""
    heavy = ["torch", "transformers", "pandas", "datasets"]
    code = f"import lander.config, lander.workflow, sys; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"\[\]\s*", found), found
