"""The built-in corpus: known lines, line n is line n whatever is asked for, known and new vocabulary."""

import pytest

from lander.data import cldr
from lander.data.repair import repair
from lander.shared.errors import UserError

SIX = ("en", "de", "it", "fr", "ar", "zh")


def test_a_known_line_in_six_languages():
    assert cldr.lines(SIX, 60_000, 60_001) == {
        "en": ["Senegal, Cuba, fallen leaf, or Canada"],
        "de": ["Senegal, Kuba, laub oder Kanada"],
        "it": ["Senegal, Cuba, foglia caduta o Canada"],
        "fr": ["Sénégal, Cuba, feuille morte ou Canada"],
        "ar": ["السنغال أو كوبا أو أوراق متساقطة أو كندا"],
        "zh": ["塞内加尔、古巴、落叶或加拿大"],
    }


def test_line_n_does_not_depend_on_the_range_or_on_the_other_languages():
    all_of_them = cldr.lines(cldr.LANGUAGES, 100, 140)
    assert cldr.lines(("de", "en"), 110, 120) == {code: all_of_them[code][10:20] for code in ("de", "en")}
    assert cldr.lines(("en",), 10**12, 10**12 + 1)["en"][0]
    assert cldr.lines(("en",), 5, 5) == {"en": []}


@pytest.mark.parametrize("language", cldr.LANGUAGES)
def test_every_text_is_clean_and_complete_in_every_language(language):
    """No unit without a long form ("71 concentr-mole"), no flag, nothing that data cleaning would change."""
    for vocabulary in ("known", "all"):
        for text in cldr.lines((language,), 0, 600, vocabulary)[language]:
            assert text
            assert repair(text) == text
            assert not any(part in text for part in ("flag:", "Flagge:", "{", "}", "None", *cldr.ENTITIES["unit"]))


def test_the_inventory_is_split_in_two_and_learnable():
    new = sum(len(cldr.entities(kind, True)) for kind in cldr.ENTITIES)
    assert 150 <= new <= 250
    for kind, codes in cldr.ENTITIES.items():
        assert len(set(codes)) == len(codes)
        assert sorted(cldr.entities(kind, True) + cldr.entities(kind, False)) == sorted(codes)


def leaves(tree: tuple) -> list[tuple]:
    if isinstance(tree[0], tuple) or tree[0] in ("list", "beside", "label"):
        return [leaf for branch in tree if isinstance(branch, tuple) for leaf in leaves(branch)]
    return [tree]


def test_known_lines_hold_no_new_entity_and_most_others_do():
    def holds_new(vocabulary: str, number: int) -> bool:
        tree = cldr._draw_line(cldr._Dice(f"{vocabulary} {number}"), vocabulary == "all")
        return any(leaf[0] in cldr.ENTITIES and leaf[1] in cldr.entities(leaf[0], True) for leaf in leaves(tree))

    assert not any(holds_new("known", number) for number in range(500))
    assert sum(holds_new("all", number) for number in range(500)) > 400


def test_lines_vary_and_test_lines_are_not_training_lines():
    train = cldr.lines(("en",), 0, 3000)["en"]
    test = cldr.lines(("en",), 60_000, 60_500)["en"]
    assert len(set(train)) > 2950
    assert sum(text in set(train) for text in test) <= 5


def test_a_language_that_it_does_not_have():
    with pytest.raises(UserError, match="no language cs, only ar de en"):
        cldr.lines(("en", "cs"), 0, 1)
