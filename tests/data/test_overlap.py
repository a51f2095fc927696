"""Near-duplicates of held-out text: the fast search finds what comparing all with all finds; what it drops."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_cleaning import run

from lander.data.overlap import Near, grams, least_shared
from lander.data.settings import resolve
from lander.shared.errors import UserError

LETTERS = st.text("abc", max_size=14)


def jaccard(first: str, second: str) -> float:
    one, other = grams(first), grams(second)
    return len(one & other) / len(one | other)


def test_grams_by_hand():
    assert grams("abcdefg") == {"abcde", "bcdef", "cdefg"}
    assert grams("abc") == {"abc"}
    assert grams("") == {""}
    assert grams("敏捷的狐狸") == {"敏捷", "捷的", "的狐", "狐狸"}
    assert grams("größer") == {"größe", "rößer"}


@pytest.mark.parametrize(("threshold", "size", "shared"), [(0.7, 10, 7), (0.7, 11, 8), (0.1, 3, 1), (1.0, 4, 4)])
def test_least_number_of_shared_grams(threshold, size, shared):
    assert least_shared(threshold, size) == shared


@given(st.lists(LETTERS, min_size=1, max_size=12), LETTERS, st.sampled_from([0.2, 0.5, 0.6, 2 / 3, 0.75, 0.9, 1.0]))
def test_the_search_is_exact(given_texts, text, threshold):
    best = max(jaccard(text, other) for other in given_texts)
    found = Near(given_texts, threshold).find(text)
    assert (found is not None) == (best >= threshold - 1e-9)
    if found is not None:
        assert threshold - 1e-9 <= found <= best + 1e-9


HELD = "The council of ministers has decided to raise the price of bread in all towns"
CHANGED = HELD.replace("bread", "water")
OTHER = "The council of ministers met the press in the old town hall after the long night"
GERMAN = "Der Rat der Minister hat entschieden, den Preis von Brot in allen Städten zu erhöhen"
CHANGED_GERMAN = GERMAN.replace("Brot", "Wein")
FAR = "Etwas ganz anderes steht in diesem Satz, der hier nur eine Zeile füllt"


def clean(folder, pairs, exclude, similarity):
    """The second texts that stay, the counts, and the examples of dropped pairs."""
    cleaning = {"default": {"near_excluded": {"similarity": similarity}}} if similarity else {}
    table, counts, dropped = run(folder, *zip(*pairs, strict=True), exclude, cleaning)
    return list(table["second"]), dict(zip(counts["reason"], counts["pairs"], strict=True)), dropped


@pytest.fixture
def held(tmp_path):
    (tmp_path / "held.en").write_text(HELD + "\n")
    (tmp_path / "held.de").write_text(GERMAN + "\n")
    return [{"files": {"en": str(tmp_path / "held.en"), "de": str(tmp_path / "held.de")}}]


def test_what_is_near_goes_on_either_side_and_is_counted_apart(tmp_path, held):
    pairs = [(FAR, CHANGED), (CHANGED_GERMAN, OTHER), (FAR, OTHER), (FAR, HELD)]
    kept, counts, dropped = clean(tmp_path, pairs, held, 0.7)
    assert kept == [OTHER]
    assert (counts["exclude"], counts["near_excluded"], counts["kept"]) == (1, 2, 1)
    near = [example for example in dropped if example["reason"] == "near_excluded"]
    plain = "".join(filter(str.isalpha, HELD.lower()))
    assert near[0]["score"] == round(jaccard(plain, plain.replace("bread", "water")), 3)


def test_off_by_default_and_with_nothing_excluded(tmp_path, held):
    kept, counts, _ = clean(tmp_path, [(FAR, CHANGED), (CHANGED_GERMAN, OTHER)], held, None)
    assert (len(kept), "near_excluded" in counts) == (2, False)
    kept, counts, _ = clean(tmp_path, [(FAR, CHANGED)], [], 0.5)
    assert (len(kept), counts["near_excluded"]) == (1, 0)


@pytest.mark.parametrize("value", [0, -1, 1.5, "x", True])
def test_thresholds_that_are_none(value):
    with pytest.raises(UserError, match=r"near_excluded\.similarity"):
        resolve({"default": {"near_excluded": {"similarity": value}}})
    with pytest.raises(UserError, match="set it in `default`"):
        resolve({"languages": {"de": {"near_excluded": {"similarity": 0.5}}}})
