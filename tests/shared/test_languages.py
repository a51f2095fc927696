"""What codes mean: every form of a code that people write for a language, and scripts that tell languages apart."""

import pytest

from lander.shared.errors import UserError
from lander.shared.languages import base_language, find_language, language_name, parse_direction, script_of

FORMS = [  # forms of a code, language, script, name
    (["en", "eng", "EN", "en-Latn", "eng_Latn"], "en", "Latn", "English"),
    (["de", "deu", "ger"], "de", "Latn", "German"),
    (["zh", "zho", "chi", "cmn", "zh-cmn"], "zh", "Hans", "Chinese"),
    (["zh-Hant", "zho-hant", "zho_Hant", "cmn-Hant", "zh-cmn-Hant"], "zh", "Hant", "Chinese (Traditional)"),
    (["zh-TW", "zh_tw", "zh-Hant-TW", "zho-Hant-TW"], "zh", "Hant", "Chinese (Traditional, Taiwan)"),
    (["zh-Hans", "zho_Hans"], "zh", "Hans", "Chinese (Simplified)"),
    (["yue", "yue-Hant", "zh-yue"], "yue", "Hant", None),
    (["nan", "zh-nan", "zh-min-nan"], "nan", "Hans", None),
    (["ar", "ara", "arb", "arb_Arab", "arb-Arab"], "ar", "Arab", "Arabic"),
    (["fa", "fas", "per", "pes", "pes_Arab"], "fa", "Arab", "Persian"),
    (["he", "heb", "iw"], "he", "Hebr", "Hebrew"),
    (["pt-BR", "por-BR", "pt_br"], "pt", "Latn", "Portuguese (Brazil)"),
    (["sr", "srp"], "sr", "Cyrl", "Serbian"),
    (["sr-Latn", "srp_Latn", "sh"], "sr", "Latn", "Serbian (Latin)"),
    (["sr-ME"], "sr", "Latn", "Serbian (Latin, Montenegro)"),
    (["kk-Latn", "kaz_Latn"], "kk", "Latn", "Kazakh (Latin)"),
    (["az-Cyrl", "azj-Cyrl"], "az", "Cyrl", "Azerbaijani (Cyrillic)"),
    (["pa-Arab"], "pa", "Arab", "Punjabi (Arabic)"),
    (["nb", "nob", "nob_Latn"], "nb", "Latn", "Norwegian Bokmål"),
    (["sw", "swh"], "sw", "Latn", "Swahili"),
    (["fil", "tl", "tgl"], "fil", "Latn", "Filipino"),
    (["ps", "pbt_Arab"], "ps", "Arab", "Pashto"),
    (["ur", "urd", "ur-Aran", "urd-Arab"], "ur", "Arab", "Urdu"),
    (["es-419"], "es", "Latn", "Spanish (Latin America)"),
    (["ca-valencia"], "ca", "Latn", "Catalan (Valencian)"),
    (["tlh"], "tlh", None, "Klingon"),
]


@pytest.mark.parametrize(("forms", "base", "script", "name"), FORMS, ids=[forms[0] for forms, *_ in FORMS])
def test_forms_of_one_language_mean_the_same(forms, base, script, name):
    assert [(base_language(form), script_of(form)) for form in forms] == [(base, script)] * len(forms)
    if name:
        assert {language_name(form) for form in forms if form.count("_") + form.count("-") < 1 or "(" in name} <= {name}
        assert language_name(forms[0]) == name


def test_a_language_is_found_under_its_other_codes():
    known = ["en", "de", "zh", "sr-Latn", "pt_BR"]
    wanted = {
        "deu": "de", "ger": "de", "en-US": "en", "zho": "zh", "zh-CN": "zh", "cmn": "zh", "srp-Latn": "sr-Latn",
        "pt": "pt_BR", "de": "de", "zh-Hant": None, "zh-TW": None, "yue": None, "sr": None, "fr": None,
    }  # fmt: skip
    assert {code: find_language(code, known) for code in wanted} == wanted
    assert find_language("en-AU", ["en-US", "en-GB"]) is None  # which one is not clear


def test_a_direction_between_two_codes_of_one_language_is_refused():
    for value in ("en-eng", ["zh", "zh-Hans"], "de-ger", ["nob", "nb"]):
        with pytest.raises(UserError, match="are the same language"):
            parse_direction(value)
    for value in (["zh-Hant", "zh"], ["sr-Latn", "sr"], ["en-US", "en-GB"], "nb-nn"):
        parse_direction(value)


def test_a_name_does_not_hang_on_the_form_of_a_code():
    assert [language_name(code) for code in ("yue", "zh-yue", "zh-cmn")] == ["Cantonese", "Cantonese", "Chinese"]


def test_no_name_is_made_up():
    for code in ("xx", "qqq", "sentence-deu"):
        with pytest.raises(UserError, match="no name is known"):
            language_name(code)
