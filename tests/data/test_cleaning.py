"""Cleaning: what each step drops and what it lets through, on known and on nasty text; the counts add up."""

import gzip
import json
import os
import string
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from ftfy import fix_encoding
from hypothesis import given
from hypothesis import strategies as st
from test_sources import parse

from lander.data import cleaning, langid, measures
from lander.data.cleaning import EXAMPLE_CHARACTERS, EXAMPLES, Cleaner, clean_pair
from lander.data.filters import LARGER, Seen
from lander.data.langid import Judge
from lander.data.overlap import Excluded, normalise
from lander.data.repair import repair
from lander.data.settings import DEFAULTS, ORDER, resolve, thresholds
from lander.shared import tables
from lander.shared.errors import UserError
from lander.shared.languages import parse_direction, script_of

EN = "The quick brown fox jumps over the lazy dog, and nobody minds."
DE = "Der schnelle braune Fuchs springt über den faulen Hund, und niemanden stört es."
FR = "Le renard brun et rapide saute par-dessus le chien paresseux, et personne ne s'en soucie."
ZH = "敏捷的棕色狐狸跳过了懒狗，没有人在意。"
AR = "الثعلب البني السريع يقفز فوق الكلب الكسول، ولا أحد يهتم بذلك."
TEXTS = {"de": DE, "en": EN, "fr": FR, "zh": ZH, "ar": AR}


def verdicts(pairs, languages=("de", "en"), cleaning=None):
    """What becomes of each pair: its reason, or the texts that stay."""
    cleaner = Cleaner(languages, resolve(cleaning or {}), Excluded([], languages))
    kept = {line: (first, second) for first, second, _, line in cleaner.clean("x", enumerate(pairs))}
    reasons = {example["line"]: example["reason"] for example in cleaner.examples}
    return [kept.get(line, reasons.get(line)) for line in range(len(pairs))]


def verdict(first, second, languages=("de", "en"), **options):
    return verdicts([(first, second)], languages, **options)[0]


# ---------------------------------------------------------------- repair


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("schÃ¶n und grÃ¼n", "schön und grün"),
        ("itâ€™s", "it’s"),
        ("fish &amp; chips", "fish & chips"),
        ("  two\t spaces \n here  ", "two spaces here"),
        ("a\u2028b\x85c\x0bd", "a b…c d"),  # U+0085 is an ellipsis of Windows here
        ("nul\x00l and bell\x07", "null and bell"),
        ("\ufeffmark\u200b \u202abidi\u202c", "mark bidi"),
        ("soft\xadhyphen", "softhyphen"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("e\u0301te\u0301", "été"),
        ("“curled” ‘quotes’ „tief“", "“curled” ‘quotes’ „tief“"),
        ("你好，世界！ＡＢＣ１２３", "你好，世界！ＡＢＣ１２３"),
        ("Quoi\u202f? « Oui\u00a0! »", "Quoi\u202f? « Oui\u00a0! »"),
        ("می\u200cخواهم 👩\u200d💻", "می\u200cخواهم 👩\u200d💻"),
        ("a  \u00a0 b", "a b"),
        ("ﬁne", "ﬁne"),
        ("", ""),
        ("\u00a0", ""),
    ],
)
def test_repair_known_results(text, expected):
    assert repair(text) == expected


# what may follow a word in capitals, so that its last two characters are UTF-8 of another letter
AFTER_CAPITALS = ("»", "”", "“", "’", "›", "…", "—", " — ", "–", "™", "®", "°", "º", "²", "\u00a0:", "\u00a0», ", "—E")


@pytest.mark.parametrize(
    "word", ["MAÇÃ", "GUARANÍ", "TIGRÉ", "KARELÎ", "BANGLADEŠ", "AZIË", "HÉRITÉ", "SKOTTILÂŠ", "HÂLÂ", "ĐÃ"]
)
def test_clean_capitals_stay(word):  # MemPalace/mempalace#2193 has more of them
    texts = [f"A {before}{word}{after}." for before in ("", "«", "“", "(") for after in AFTER_CAPITALS]
    assert [repair(text) for text in texts] == texts


@pytest.mark.parametrize(
    "text",
    [
        "a letra Ã tem til", "A, Â e Ã", "de Ã a Z", "a letra Ã …", "a letra Ã – til", "Ã»", "Grupo 3Ã»", "2-Â»", "–Ã»",
        "Vitamina Ã™", 'o "Ã”', "«a letra Ã »", "Klasse 3Ö–", "3É™",
    ],
)  # fmt: skip
def test_one_letter_is_no_evidence(text):
    assert repair(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "3 × 4", "2×", "Öl", "à la Öl", "5® und 6°", "voilà !", "10 €", "schön à Paris",
        "schön", "Über", "GRÖSSE", "MÜNCHEN", "ÉTÉ", "CAFÉ.", "ESPAÑA", "CAMIÓN", "BIENTÔT", "FENÊTRE", "Привет",
        "ПРИВЕТ", "Ελλάδα", "it’s", "20 °C", "« Bonjour »", "été", "łódź", "AMANHÃ", "à la carte", "«MAÇÃ» não", "中文",
    ],
)  # fmt: skip
def test_mojibake_is_undone_in_capitals_too(text):
    assert repair(text.encode().decode("latin-1")) == text


def test_repair_forms():
    assert repair("ＡＢＣ ﬁ", form="NFKC") == "ABC fi"
    assert repair("e\u0301", form="none") == "e\u0301"
    assert repair("schÃ¶n &amp;", encoding=False) == "schÃ¶n &amp;"


@given(st.text())
def test_repair_leaves_no_line_breaks_controls_or_edges(text):
    repaired = repair(text)
    assert len(repaired.splitlines()) <= 1
    assert repaired == repaired.strip()
    assert "\x00" not in repaired
    assert "\ufeff" not in repaired


@given(st.text(alphabet="äöüßéèçñłžиαש中’“€ a", min_size=1, max_size=20))
def test_the_fast_way_misses_no_mojibake(text):
    """What ftfy would repair is repaired: nothing is let through too early. (`a`: a pair alone is no evidence.)"""
    broken = f"a{text.strip()}a".encode().decode("cp1252", errors="ignore")
    if fix_encoding(broken) != broken:
        assert repair(broken) == repair(fix_encoding(broken))


# ---------------------------------------------------------------- measures


def test_lengths():
    assert measures.length("two words", "words") == 2
    assert measures.length("你好 world。", "words") == 4  # 你 好 world and the full stop
    assert measures.length("你好 a b", "characters") == 4
    assert measures.length_ratio("aaaa", "b", (1.0, 2.0), 0) == 2
    assert measures.length_ratio("", "", (1.0, 1.0), 0) >= 0
    assert measures.longest_word("x" * 61, 60) == 61
    assert measures.longest_word("x" * 60, 60) == 0
    assert measures.longest_word("字" * 500 + " https://a.b/" + "c" * 99, 60) == 0


def test_markup_and_links():
    counts = {"<b>x</b>": 2, "a < b > c": 0, '<a href="x">': 1, "<br/>&nbsp;&#160;": 3, "<file> AT&T; R&D": 0}
    assert {text: measures.markup(text) for text in counts} == counts
    assert measures.links("See http://A.b/c. （https://x.y/z）") == ["http://a.b/c", "https://x.y/z"]
    assert measures.links("参见https://x.y/z，以及") == ["https://x.y/z"]
    assert measures.links("no address") == []


def test_numbers_of_any_digits_and_separators():
    assert measures.numbers("1,000 and 2.500 in 007") == {1000, 2500, 7}
    assert measures.numbers("٣٬٥٠٠ و ١٢") == {3500, 12}
    assert measures.number_mismatch("in 1999 and 2000", "2000") == 0
    assert measures.number_mismatch("12 34", "12 35") == 0.5
    assert measures.number_mismatch("5", "none") == 0
    assert measures.numbers("9" * 10_000)


def test_scripts():
    codes = ("en", "zh", "zh-Hant", "ja", "sr", "sr-Latn", "tlh")
    assert [script_of(code) for code in codes] == ["Latn", "Hans", "Hant", "Jpan", "Cyrl", "Latn", None]
    assert [measures.script_share("abc", script) for script in ("Latn", "Hanb", "Abcd", "Zxxx")] == [1, 0, 1, 1]
    known = {("使用 git", "Hans"): 0.4, ("日本語ひらカタ", "Jpan"): 1, ("über", "Latn"): 1, ("123", "Latn"): 1}
    assert {key: measures.script_share(*key) for key in known} == known


@given(st.text(string.printable))
def test_the_ascii_way_counts_the_same_letters(text):
    assert measures.letters(text) == "".join(character for character in text if character.isalpha())


def test_normalise():
    assert normalise("Ｈello, World!") == normalise("hello  world") == "helloworld"
    assert normalise("STRASSE") == normalise("straße")
    assert normalise("... — !") == normalise("❤️ ☀️") == ""


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("लड़का घर में है।", "लड़की घर में है।", False),  # the boy, the girl
        ("ที่", "ที", False),  # at; time
        ("סֵפֶר", "סַפָּר", False),  # book; barber
        ("কলা", "কালি", False),
        ("e\u0301te\u0301", "ÉTÉ", True),
        ("ΤΑΪ\u0301ΖΩ", "ταΐζω", True),
        ("İzmir", "izmir", True),
        ("می\u200cخواهم", "میخواهم", True),
        ("राम", "रामा", False),
        ("\u0929", "\u0928\u093c", True),  # one letter, as one character and as two
        ("I ❤️ it", "I ❤ it!", True),
    ],
)
def test_marks_are_part_of_a_word_and_selectors_are_not(one, other, same):
    assert (normalise(one) == normalise(other)) is same


# ---------------------------------------------------------------- filters


@pytest.mark.parametrize("languages", [("de", "en"), ("en", "zh"), ("ar", "en"), ("de", "zh"), ("ar", "fr")])
def test_good_pairs_stay(languages):
    pair = tuple(TEXTS[language] for language in languages)
    assert verdict(*pair, languages=languages) == pair


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("", EN, "empty"),
        (DE, " \u200b\u00a0 ", "empty"),
        (DE, EN + " \ufffd", "damaged"),
        ("Wort " * 201, "word " * 201, "length"),
        ("x" * 61 + " " + DE, EN, "long_word"),
        (DE * 5, EN, "length_ratio"),
        (f"<p>{DE}</p>", f"<p>{EN}</p>", "markup"),
        (DE + " http://a.de", EN + " http://b.de", "markup"),
        ("12 34 56 78 90 a", "12 34 56 78 90 b", "alphabet"),
        (ZH, EN, "alphabet"),
        (DE, AR, "alphabet"),
        (EN, EN.upper(), "copied"),
        (DE, FR, "language"),
        (FR, EN, "language"),
    ],
)
def test_each_reason(first, second, reason):
    assert verdict(first, second) == reason


def test_a_line_of_a_million_characters_is_dropped_with_a_short_example():
    cleaner = Cleaner(("de", "en"), resolve({}), Excluded([], ("de", "en")))
    assert list(cleaner.clean("x", iter([(0, ("x" * 1_000_000, EN)), (1, ("x " * 500_000, EN))]))) == []
    assert [example["reason"] for example in cleaner.examples] == ["long_word", "length"]
    assert len(cleaner.examples[0]["first"]) == EXAMPLE_CHARACTERS


def in_languages(**most: float) -> dict:
    """Only the ratio of lengths, at most 1.5 or as the languages say."""
    own = {code: {"length_ratio": {"max": value}} for code, value in most.items()}
    return {"order": ["length_ratio"], "default": {"length_ratio": {"max": 1.5}}, "languages": own}


NAMES = ("Angela Merkel", "Angela Merkel")
NUMBERS = ("Es waren 12 Leute aus 3 Orten.", "There were 13 people from 4 towns.")
SHORT, FOUR = ("eins zwei drei", "one two three"), {"length": {"min": 4}}
UNEVEN = ("x " * 40, "y " * 20)  # 55 over 35 characters, with the slack
TAGGED = ("<b>" + "x" * 99, "<b>" + "x" * 99)


@pytest.mark.parametrize(
    ("pair", "cleaning", "reason"),
    [
        (NAMES, {}, None),
        (NUMBERS, {}, None),
        (NUMBERS, {"default": {"numbers": {"max": 0.5}}}, "numbers"),
        # a language's thresholds go before the default
        (SHORT, {"default": FOUR}, "length"),
        (SHORT, {"languages": {"de": FOUR}}, "length"),
        (SHORT, {"languages": {"fr": FOUR}}, None),
        (SHORT, {"default": FOUR, "languages": {"de": {"length": {"min": 1}}, "en": {"length": {"min": 3}}}}, None),
        # of two that compare both sides, the stricter counts
        (UNEVEN, {"order": ["length_ratio"]}, None),
        (UNEVEN, in_languages(), "length_ratio"),
        (UNEVEN, in_languages(de=9), None),
        (UNEVEN, in_languages(de=9, en=1.5), "length_ratio"),
        # the order decides the reason, and steps may be left out
        (TAGGED, {}, "long_word"),
        (TAGGED, {"order": ["markup", "long_word"]}, "markup"),
        (("  a ", "b "), {"order": []}, None),
    ],
)
def test_thresholds_and_order(pair, cleaning, reason):
    assert verdict(*pair, cleaning=cleaning) == (reason or pair)


def test_duplicates():
    pairs = [(DE, EN), (DE + " ", EN), (DE, EN + " Really."), (DE, EN)]
    assert verdicts(pairs) == [(DE, EN), "duplicates", (DE, EN + " Really."), "duplicates"]
    assert verdicts(pairs, cleaning={"default": {"duplicates": {"pair": False}}})[3] == (DE, EN)


@given(st.lists(st.lists(st.integers(0, 40), max_size=9), max_size=40))
def test_what_was_seen_answers_as_a_set_does(calls):
    seen, known = Seen(), set()
    for call in calls:
        wanted = [number not in known and number not in call[:place] for place, number in enumerate(call)]
        known.update(call)
        assert seen.add(np.array(call, dtype=np.uint64)).tolist() == wanted


def test_what_was_seen_is_held_once_in_few_runs():
    seen = Seen()
    numbers = np.random.default_rng(0).permutation(20_000).astype(np.uint64) << np.uint64(49)  # the largest ones too
    for part in np.array_split(np.concatenate([numbers, numbers[:500]]), 300):
        seen.add(part)
    lengths = [len(run) for run in seen._runs]
    assert sum(lengths) == 20_000
    assert all(first >= LARGER * second for first, second in pairwise(lengths))
    assert all((run[:-1] < run[1:]).all() for run in seen._runs)


def test_nothing_hangs_on_the_size_of_a_batch(monkeypatch):
    texts = [DE, DE + " ", FR, "", DE + " Nie.", DE, "<b>x</b>", DE + " Nie.", DE + " Nie!"]
    pairs = [(text, EN) for text in texts]
    whole = verdicts(pairs)
    for most, characters in ((1, 10**6), (4, 10**6), (64, 300)):
        monkeypatch.setattr(cleaning, "BATCH", most)
        monkeypatch.setattr(cleaning, "BATCH_CHARACTERS", characters)
        assert verdicts(pairs) == whole
    assert {"language", "empty", "markup", "duplicates"} <= set(map(str, whole))


@pytest.mark.parametrize(
    ("cleaning", "message"),
    [
        ({"ordr": []}, "data.cleaning.ordr"),
        ({"order": ["empty", "nope"]}, "data.cleaning.order[1]: 'nope'"),
        ({"order": ["empty", "empty"]}, "order: empty is there twice"),
        ({"default": {"length": {"mx": 3}}}, "default.length.mx: no such key"),
        ({"languages": {"zh": {"length": {"max": "x"}}}}, "languages.zh.length.max: 'x' given"),
        ({"languages": {"zh": {"duplicates": {"pair": True}}}}, "duplicates"),
        ({"default": {"length_ratio": {"max": -1}}}, "length_ratio.max: -1 given"),
    ],
)
def test_settings_that_are_wrong_are_named(cleaning, message):
    with pytest.raises(UserError) as error:
        resolve(cleaning)
    assert message in str(error.value)
    assert str(error.value).startswith("data.cleaning")


def test_settings_that_are_resolved_stay_as_they_are():
    before = json.dumps(DEFAULTS)
    settings = resolve({"languages": {"zh": {"length": {"max": 7}}}, "default": {"length": {"max": 3}}})
    assert resolve(settings) == settings
    assert settings["languages"]["zh"]["length"] == {"unit": "characters", "max": 7}
    assert json.dumps(DEFAULTS) == before
    assert list(ORDER) == DEFAULTS["order"]


# ---------------------------------------------------------------- language identification


def test_a_script_that_the_model_has_not_learnt():
    """The languages of the script stand for the language, even where its nearest one is the other of the pair."""
    latin = ["Odbor je odlučio da će se sastanak održati sutra.", "Nova škola biće otvorena u septembru ove godine."]
    croatian = ["Odbor je odlučio da će se sastanak održati sutra.", "Nova škola bit će otvorena u rujnu ove godine."]
    english = ["The committee has decided to meet tomorrow.", "The new school will be opened in September."]
    for pair, first, second in (("en sr-Latn", english, latin), ("hr sr-Latn", croatian, latin)):
        pairs = list(zip(first, second, strict=True))
        assert verdicts(pairs, tuple(pair.split()), {"order": ["alphabet", "language"]}) == pairs
    wrong = [(text, other) for text in english for other in (EN, DE, FR)]
    assert verdicts(wrong, ("en", "sr-Latn"), {"order": ["alphabet", "language"]}) == ["language"] * 6
    assert verdicts([(latin[0], EN)], ("sr-Cyrl", "en"), {"order": ["language"]}) == ["language"]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("ro-Cyrl", "Еле сынт ынзестрате ку рациуне ши конштиинцэ ши требуе сэ се компорте фрэцеште."),
        ("pl-Cyrl", "Вшысци людзе родзон се вольни и рувни под взглендем своей годносци и свых прав."),
        ("lt-Cyrl", "Шяндиен лабай гражус орас, ир мес эйнаме пасивайкщёти по парка."),
        ("ko-Hani", "本法大韓民國國民敎育基本方針規定目的人間尊嚴性平等自由權利"),
        ("th-Latn", "wan ni akat di mak rao cha pai doen len thi suan satharana lae sue khanompang"),
        ("zh-Latn", "renren sheng er ziyou zai zunyan he quanli shang yilü pingdeng"),
        ("kk-Latn", "Bügin aua raiy öte jaqsy, biz saiabaqqa seruendeuge baramyz."),
    ],
)
def test_languages_that_nothing_in_the_script_is_like(code, text):
    wrong = "Сегодня прекрасная погода" if code.endswith("Latn") else EN
    found = verdicts([(EN, text), (EN, wrong)], ("en", code), {"order": ["alphabet", "language"]})
    assert found == [(EN, text), "alphabet"]


@pytest.mark.parametrize("code", ["zho", "cmn", "chi", "zh-CN", "zh-Hant", "zho-Hant-TW", "ZH"])
def test_thresholds_are_those_of_the_language(code):
    stated = {"languages": {"zho": {"length": {"max": 7}}, "zh-Hant": {"length": {"min": 2}}}}
    own = thresholds(resolve(stated), code, "length")
    assert (own["unit"], own["max"], own["min"]) == ("characters", 7, 2 if "Hant" in code else 1)
    assert thresholds(DEFAULTS, code, "length_ratio") == thresholds(DEFAULTS, "zh", "length_ratio")


@pytest.mark.parametrize("code", ["zh-Latn", "ja-Latn", "ko-Latn", "ar-Latn", "fa-Cyrl"])
def test_thresholds_are_for_the_scripts_of_the_language(code):
    for step in ("length", "language", "length_ratio", "alphabet"):
        assert thresholds(DEFAULTS, code, step) == thresholds(DEFAULTS, "en", step)
    stated = resolve({"languages": {code: {"length": {"max": 7}}, "sr": {"length": {"max": 8}}}})
    assert [thresholds(stated, one, "length")["max"] for one in (code, "sr-Latn")] == [7, 8]


def test_scripts_without_spaces_have_thresholds_whatever_the_language():
    for code, main in {"yue": "zh", "wuu": "zh", "tts": "th", "shn": "my", "ur": "de"}.items():
        assert thresholds(DEFAULTS, code, "length_ratio") == thresholds(DEFAULTS, main, "length_ratio"), code
        assert thresholds(DEFAULTS, code, "length") == thresholds(DEFAULTS, main, "length"), code
    stated = thresholds(resolve({"languages": {"yue": {"length": {"min": 3}}}}), "yue", "length")
    assert stated == {"unit": "characters", "min": 3, "max": 400}


def test_languages_are_told_apart():
    for language in TEXTS:
        judge = Judge(language, TEXTS)
        for other, text in TEXTS.items():
            assert (judge.probabilities([text], 10)[0] > 0.5) == (other == language), (language, other)


def test_probabilities_of_a_batch_are_those_of_the_models_own_walk():
    """py3langid goes through a text byte by byte; bytes that are no UTF-8 of ours (surrogates) belong to it too."""
    model = langid._model()
    texts = [DE, "x" + FR, EN, "Ça vous dérange?\ud83d", "\x00ÿ" * 30, DE[:-3]]
    columns = [model.nb_classes.index(code) for code in ("de", "en", "fr")]
    wanted = []
    for text in texts:
        state, scores = 0, model.nb_pc[columns].astype(float)
        for byte in text.encode("utf-8", "surrogatepass"):
            state = model.tk_nextmove[(state << 8) + byte]
            for feature in model.tk_output.get(state, ()):
                scores = scores + model.nb_ptc[feature, columns]
        shares = np.exp(scores - scores.max())
        wanted.append(shares[2] / shares.sum())
    assert min(wanted) < 1e-6 < 0.5 < max(wanted)
    assert Judge("fr", ["de", "en"]).probabilities(texts, 0) == pytest.approx(wanted, rel=1e-9)


def test_short_texts_and_unknown_languages_are_not_judged(capsys):
    assert Judge("de", ["en"]).probabilities(["Yes, my dear"], 25) == [1]
    assert Judge("tlh", ["en"]).probabilities([EN], 5) == [1]
    assert verdict("nuqneH " * 9, EN, languages=("tlh", "en")) == (("nuqneH " * 9).strip(), EN)
    assert capsys.readouterr().err.count("does not know tlh") == 1


# ---------------------------------------------------------------- a whole pair


def run(folder, first, second, exclude=(), cleaning=None, names=("de", "en")):
    for name, lines in zip(names, (first, second), strict=True):
        (folder / f"{name}.txt").write_text("".join(line + "\n" for line in lines), newline="\n")
    sources = parse({"name": "web", "files": {name: str(folder / f"{name}.txt") for name in names}})
    outputs = [folder / name for name in ("clean.parquet", "counts.parquet", "dropped.jsonl")]
    clean_pair(parse_direction(list(names)), sources, parse(*exclude), cleaning or {}, *outputs)
    examples = [json.loads(line) for line in outputs[2].read_text().splitlines()]
    return tables.read(outputs[0], "clean"), tables.read(outputs[1], "counts"), examples


def test_what_is_written(tmp_path):
    table, counts, examples = run(tmp_path, [DE, "", DE, *[""] * 20], [EN, EN, EN, *[EN] * 20])
    assert table.to_dict("records") == [{"first": DE, "second": EN, "origin": "web", "line": 0}]
    numbers = dict(zip(counts["reason"], counts["pairs"], strict=True))
    assert list(numbers) == ["read", *(step for step in ORDER[1:] if step != "near_excluded"), "kept"]
    assert {reason: pairs for reason, pairs in numbers.items() if pairs} == {
        "read": 23, "empty": 21, "duplicates": 1, "kept": 1
    }  # fmt: skip
    assert set(counts["direction"]) == {"de-en"}
    assert Counter(example["reason"] for example in examples) == {"empty": EXAMPLES, "duplicates": 1}
    assert examples[0] == {"reason": "empty", "score": 0.0, "first": "", "second": EN, "origin": "web", "line": 1}


def test_what_is_repaired_is_counted_apart(tmp_path):
    """Mojibake, entities, escapes and what is invisible count, once a pair; space, form and clean capitals do not."""
    good, tidy = "Die MAÇÃ» ist hier.", "  Zwei\u0308  "
    german = ["SchÃ¶n &amp; gut.", good, tidy, "Drei", "", "Vier &gt; drei.", "Fün\xadf"]
    english = ["Nice &amp; good.", "It is here.", "Two", "\x1b[1mThree", "&amp;", "Four > 3.", "Five"]
    table, counts, _ = run(tmp_path, german, english)
    numbers = dict(zip(counts["reason"], counts["pairs"], strict=True))
    assert list(table["first"]) == ["Schön & gut.", good, "Zweï", "Drei", "Vier > drei.", "Fünf"]
    assert {name: number for name, number in numbers.items() if number} == {
        "read": 7, "repaired": 5, "empty": 1, "kept": 6
    }  # fmt: skip
    for off in ({"order": ["empty"]}, {"default": {"repair": {"encoding": False}}}):
        _, counts, _ = run(tmp_path, german[:2], ["Nice.", "Here."], cleaning=off)
        assert "repaired" not in set(counts["reason"])


def test_a_damaged_line_is_excluded_by_itself(tmp_path):
    """Training text is repaired before it is compared."""
    held = tmp_path / "held.txt"
    held.write_text("Tom &amp; Ann went home.\nIt is schÃ¶n here.\n", encoding="utf-8")
    german = [DE, "Es ist hier ganz anders.", "Das ist ein anderer Satz, der bleiben darf."]
    english = ["Tom &amp; Ann went home.", "It is schÃ¶n here.", "This is another sentence, which may stay."]
    table, counts, _ = run(tmp_path, german, english, [{"files": {"en": str(held)}}], {"order": ["repair", "exclude"]})
    assert list(table["second"]) == english[2:]
    assert counts.set_index("reason")["pairs"]["exclude"] == 2
    english[1] = "It is schön here."  # the excluded text, if it is repaired
    for off in ({"order": ["exclude"]}, {"default": {"repair": {"encoding": False}}}):
        table, _, _ = run(tmp_path, german, english, [{"files": {"en": str(held)}}], {"order": ["exclude"]} | off)
        assert list(table["second"]) == english[1:]


@pytest.mark.parametrize("language", ["en", "de", "fr"])
def test_excluded_texts_go_whatever_their_language_case_or_side(tmp_path, language):
    held = tmp_path / "held.txt"
    held.write_text(f"{EN.upper()}  !\n...\n")
    other = tmp_path / "other.txt"
    other.write_text("x\ny\n")
    exclude = [{"files": {language: str(held), "it": str(other)}}]
    good = "Das ist ein anderer Satz, der bleiben darf."
    table, counts, _ = run(tmp_path, [DE, good, "…"], [EN, "This is another sentence, which may stay.", "—"], exclude)
    assert list(table["first"]) == [good]
    assert counts.set_index("reason")["pairs"]["exclude"] == 1


def test_other_vowel_signs_are_another_sentence(tmp_path):
    held = tmp_path / "held.txt"
    held.write_text("लड़की घर में है।\n")
    hindi = ["लड़का घर में है।", "लड़के घर में हैं।", "लड़की घर में है"]
    english = ["The boy is at home.", "The boys are at home.", "The girl is at home."]
    exclude = [{"files": {"hi": str(held)}}]
    table, counts, _ = run(tmp_path, english, hindi, exclude, {"order": ["exclude"]}, names=("en", "hi"))
    assert list(table["second"]) == hindi[:2]
    assert counts.set_index("reason")["pairs"]["exclude"] == 1


def test_nothing_left_is_an_error_that_leaves_no_file(tmp_path):
    with pytest.raises(UserError, match=r"pair de-en: none of 2 pairs is left after cleaning \(empty 2\)"):
        run(tmp_path, ["", ""], [EN, EN])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["de.txt", "en.txt"]


EXCLUDED = parse({"builtin": "cldr", "lines": [0, 3]})
nasty = st.text(alphabet=st.one_of(st.characters(codec="utf-8"), st.sampled_from("\x00\r\u2028<&>ÃÂ�")), max_size=40)


@given(st.lists(st.tuples(nasty | st.just(DE), nasty | st.just(EN)), max_size=8))
def test_counts_add_up_on_anything(pairs):
    settings = resolve({"default": {"length_ratio": {"slack": 0}, "near_excluded": {"similarity": 0.5}}})
    cleaner = Cleaner(("de", "en"), settings, Excluded(EXCLUDED, ("de", "en"), 0.5))
    kept = list(cleaner.clean("x", iter(enumerate(pairs))))
    counts = cleaner.counts["x"]
    assert counts["read"] == len(pairs)
    assert counts["kept"] == len(kept) == counts["read"] - sum(counts[reason] for reason in ORDER[1:])
    assert all(first and second and "\n" not in first + second for first, second, _, _ in kept)


# ---------------------------------------------------------------- real text

TEXT = Path(os.environ.get("LANDER_TEXT", Path(__file__).parents[3] / "shared" / "data"))
needs_text = pytest.mark.skipif(
    not (TEXT / "bible").is_dir(), reason="no real text: set LANDER_TEXT to the folder that holds bible/, ntrex/, ..."
)


@needs_text
@pytest.mark.parametrize(("pair", "least"), [("de-en", 0.998), ("en-zh", 0.998), ("ar-en", 0.99), ("de-zh", 0.995)])
def test_news_translated_by_people_stays(tmp_path, pair, least):
    """What goes of ar-en, 15 lines, has lost the spaces between its words."""
    names = pair.split("-")
    sides = [(TEXT / "ntrex" / f"{name}.txt").read_text().splitlines() for name in names]
    table, counts, _ = run(tmp_path, *sides, names=names)
    assert len(table) >= least * len(sides[0]), counts


@needs_text
def test_scripture_in_the_wrong_languages_is_found_out(tmp_path):
    sides = [gzip.decompress((TEXT / "bible" / f"{name}.txt.gz").read_bytes()).decode() for name in ("fr", "it")]
    long = [[text for text in side.splitlines()[:400] if len(text) > 60][:100] for side in sides]
    with pytest.raises(UserError, match=r"none of 100 pairs is left after cleaning .*language"):
        run(tmp_path, *long)
