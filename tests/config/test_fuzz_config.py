"""Configs and templates that nobody expects: they are read, or refused in one line; they never hang and never crash."""

import copy
import json

import yaml
from fuzzing import TRICKY, fuzz, told, values
from hypothesis import given
from hypothesis import strategies as st

from lander.config import config
from lander.config.config import Config
from lander.data.templates import load_templates
from lander.shared.files import shipped
from lander.shared.section import keys

TEXT = shipped("config.yaml").read_text(encoding="utf-8")
DEFAULT = yaml.safe_load(TEXT)
KEYS = [key.name for key in keys(Config)]
KEYS += ["data.train.0.builtin", "data.test.0.lines", "nope", "model.nope", "data.train.0.tmx"]
SNIPPETS = ("\t", "\n", ": ", "- ", "&a ", "*a", "<<: *a", "!!python/object:os.system x", "!!int x", "{", "[", "}", "]",
            '"\\ud800"', '"\\0"', "---", "...", "%YAML 9", "? ", "|", "'", "\x00", "\x85", *TRICKY[:6])  # fmt: skip


def put(mapping: object, key: str, value: object) -> None:
    """Set a dotted key of a config, unless another value stands in its way; 0 is the first item of a list."""
    first, _, rest = key.partition(".")
    if isinstance(mapping, list) and mapping:
        mapping = {"0": mapping[0]} if first == "0" else mapping[0]
    if isinstance(mapping, dict) and rest:
        put(mapping.setdefault(first, {}), rest, value)
    elif isinstance(mapping, dict):
        mapping[first] = value


@fuzz(25)
@given(st.dictionaries(st.sampled_from(KEYS), values, min_size=1, max_size=2))
def test_any_value_at_any_key(changes):
    raw = copy.deepcopy(DEFAULT)
    for key, value in changes.items():
        put(raw, key, value)
    loaded = []
    if told(lambda: loaded.append(config.load(raw))) is None:
        plain = config.effective(loaded[0])
        assert config.effective(config.load(plain)) == plain  # what is accepted can be written down, and read again
        json.dumps(plain, allow_nan=False).encode()


@fuzz(25)
@given(data=st.data())
def test_config_files_with_anything_in_them(data, tmp_path_factory):
    text = TEXT
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text)))
        text = text[:place] + data.draw(st.sampled_from(SNIPPETS)) + text[place:]
    file = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    told(lambda: config.read(file))


@fuzz(150)
@given(st.text(max_size=60) | st.lists(st.sampled_from(SNIPPETS), max_size=12).map("".join))
def test_templates_of_any_text(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "fuzzed-templates.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    told(lambda: load_templates(file))


sound = st.sampled_from(["{source}\n", "a {source} b\n"])
entries = st.fixed_dictionaries({"name": values, "text": values | sound})


@fuzz(100)
@given(st.lists(entries, max_size=3), st.text(max_size=20))
def test_templates_of_any_value(tmp_path_factory, entries, sentence):
    file = tmp_path_factory.getbasetemp() / "fuzzed-templates.yaml"
    try:
        file.write_bytes(yaml.dump(entries, allow_unicode=True).encode("utf-8", "surrogatepass"))
    except ValueError:  # a number of too many digits
        return
    templates = []
    if told(lambda: templates.extend(load_templates(file))) is None:
        assert len(templates) == len(entries) > 0
        for template in templates:
            shown = template.fill(sentence, "German", "English")
            assert shown.endswith("\n")
            shown.encode()
