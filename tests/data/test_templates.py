"""Instruction templates: the ten of Lander's own, and what a user's file may hold."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lander.data.templates import Template, load_templates
from lander.shared.errors import UserError

BREAKS = re.compile("\r\n|[\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]")


def test_ten_templates_are_distinct_and_end_with_a_line_break():
    templates = load_templates()
    assert len(templates) == 10
    assert len({template.name for template in templates}) == 10
    assert len({template.text for template in templates}) == 10
    assert all(template.text.endswith("\n") and not template.text.endswith("\n\n") for template in templates)


def test_templates_are_bound_to_no_direction():
    for template in load_templates():
        forth, back = (template.fill("X", *names) for names in (("Czech", "Thai"), ("Thai", "Czech")))
        assert "Thai" in forth
        assert "Czech" in back
        assert not re.search("English|German|French", template.text)


@pytest.mark.parametrize(
    "sentence", ["Guten Tag.", "{source}", "{target_language} {x} {{}}", "{0} {} %s $x \\1 \\g<0>", "{", "}"]
)
def test_braces_in_a_sentence_stay_text(sentence):
    template = Template("t", "{source_language}|{source}|{target_language}\n")
    assert template.fill(sentence, "A", "B") == f"A|{sentence}|B\n"


@given(st.text())
def test_fill_alters_nothing_but_line_breaks(sentence):
    filled = Template("t", "a {source} z\n").fill(sentence, "A", "B")
    assert filled == f"a {BREAKS.sub(' ', sentence)} z\n"
    assert len(filled.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('- {name: a, text: "{source}: "}', "line break"),
        ('- {name: a, text: "no sentence\\n"}', "{source} is missing"),
        ('- {name: a, text: "{source} {target}\\n"}', "unknown placeholder {target}"),
        ('- {name: a, text: "{source}\\n"}\n- {name: a, text: "{source}!\\n"}', "two templates are named 'a'"),
        ("- {name: a}", "entry 1"),
        ("- {name: a, text: 3}", "entry 1"),
        ("{}", "list"),
        ("", "list"),
        ("a: [", "YAML"),
        (None, "no such file"),
    ],
)
def test_unusable_files_are_one_clear_line(tmp_path, text, complaint):
    path = tmp_path / "t.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError) as error:
        load_templates(path)
    assert complaint in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
