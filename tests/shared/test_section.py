"""Sections: flags from their fields, values from plain words, errors that name the key."""

import argparse
from typing import Annotated, Literal

import pytest
from pydantic import Field

from lander.shared.errors import UserError
from lander.shared.section import Section, add_flags, flags, keys, settings, switch
from lander.shared.validation import validate


class Inner(Section):
    """A section in a section."""

    rate: float = Field(0.1, gt=0)
    """A rate of 100%."""


class Outer(Section):
    """A section with one field of each kind."""

    number: int | None = Field(None, ge=1)
    """A number."""
    share: float = Field(0.5, ge=0, le=1)
    """A share."""
    words: tuple[Annotated[str, Field(min_length=1)], ...] = ("a",)
    """Words."""
    stage: Literal[0, 1, 2] = 0
    """A stage."""
    gate: Literal["static", "off"] = switch(repaired="off", paper="static")
    """A gate."""
    quick: bool = False
    """Whether it is quick."""
    inner_one: Inner = Field(Inner(), alias="inner-one")
    """More."""


LEAVES = ("number", "share", "words", "stage", "gate", "quick")


def parse(*given: str) -> Outer:
    parser = argparse.ArgumentParser()
    add_flags(parser, Outer, *LEAVES)
    return settings(Outer, parser.parse_args(list(given)))


def test_flags_give_the_section_again():
    other = {"number": 7, "share": 1.0, "words": ("x", "y z"), "stage": 2, "gate": "static", "quick": True}
    for outer in (Outer(), Outer(**other), Outer(words=())):
        assert parse(*flags(outer, *LEAVES)) == outer
    parser = argparse.ArgumentParser()
    add_flags(parser, Inner, prefix="in-")
    assert settings(Inner, parser.parse_args(["--in-rate", "0.5"]), "in-") == Inner(rate=0.5)
    assert "A rate of 100%. (default: 0.1)" in parser.format_help()


@pytest.mark.parametrize(
    "given",
    [("--number", "0"), ("--number", "x"), ("--share", "2"), ("--stage", "3"), ("--words", ""), ("--gate", "on")],
)
def test_flags_have_the_limits_of_the_fields(given, capsys):
    with pytest.raises(SystemExit):
        parse(*given)
    assert given[0] in capsys.readouterr().err


def test_plain_words_become_values():
    raw = {"number": "1e3", "share": "1e-1", "gate": False, "quick": "true", "stage": 1.0}
    raw["inner-one"] = {"rate": "5e-5"}
    outer = validate(Outer, raw)
    assert (outer.number, outer.share, outer.gate, outer.quick, outer.stage) == (1000, 0.1, "off", True, 1)
    assert outer.inner_one.rate == 5e-5
    assert validate(Outer, {"number": "null"}).number is None
    assert str(validate(Outer, {"number": 5.0}).number) == "5"


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        ({"nummer": 1}, "x.nummer: no such key; did you mean x.number?"),
        ({"inner-one": {"rate": 0}}, "x.inner-one.rate: 0 given, wanted more than 0"),
        ({"number": True}, "x.number: true given, wanted a whole number or null"),
        ({"words": ["a", 3]}, "x.words[1]: 3 given, wanted text"),
        ({"words": "a"}, "x.words: 'a' given, wanted a list"),
        ({"share": float("inf")}, "x.share: inf given"),
        ({"words": ["\x00"]}, "x.words[0]"),
    ],
)
def test_errors_name_the_key(raw, named):
    with pytest.raises(UserError) as raised:
        validate(Outer, raw, "x")
    assert named in str(raised.value)


def test_changes_at_any_depth():
    changed = Outer().changed({"stage": 1, "inner-one": {"rate": 2.0}})
    assert (changed.stage, changed.inner_one.rate, changed.share) == (1, 2.0, 0.5)
    assert Outer().inner_one.rate == 0.1
    with pytest.raises(AttributeError):
        Outer().changed({"nope": 1})


def test_keys_are_dotted_and_know_their_readings():
    found = {key.name: key for key in keys(Outer)}
    assert list(found) == [*LEAVES, "inner-one", "inner-one.rate"]
    assert found["gate"].readings == {"repaired": "off", "paper": "static"}
    assert not found["stage"].readings
    assert found["inner-one"].section is Inner
