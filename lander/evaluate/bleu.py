"""BLEU with the tokenizer of the target language.

A separate module, so that stages which choose by BLEU (the best prompt) do not depend on how the rest is scored.
"""

import sys

from sacrebleu.metrics import BLEU

from lander.shared.errors import UserError

# sacreBLEU knows zh, ja and ko; these are other codes of the same, and other Chinese languages
TOKENIZER_LANGUAGE = {
    "zho": "zh", "chi": "zh", "cmn": "zh", "yue": "zh", "wuu": "zh", "nan": "zh", "hak": "zh", "lzh": "zh",
    "jpn": "ja", "kor": "ko",
}  # fmt: skip
UNSPACED = {"th", "tha", "lo", "lao", "km", "khm", "my", "mya", "bo", "bod", "dz", "dzo"}


def bleu_for(language: str) -> BLEU:
    """sacreBLEU's BLEU with the tokenizer that it chooses for a target language: `zh`, `zh-Hant` -> zh, `de` -> 13a.

    Raises:
        UserError: Japanese or Korean without the package of its tokenizer.
    """
    code = tokenizer_language(language)
    if code in UNSPACED:
        print(
            f"lander evaluate: note: {language} is written without spaces and sacreBLEU has no tokenizer for it; "
            "BLEU counts whole phrases as words, read chrF2++ instead",
            file=sys.stderr,
        )
    try:
        return BLEU(trg_lang=code, force=True)  # force: no warning about outputs that look tokenized
    except (RuntimeError, ImportError):
        raise UserError(
            f"BLEU into {language} needs sacreBLEU's tokenizer for it, which is not installed: "
            f'run `pip install "sacrebleu[{code}]"`'
        ) from None


def base_language(code: str) -> str:
    """The language of a code without script and region: `zh-Hant` -> `zh`."""
    return code.replace("_", "-").split("-")[0].lower()


def tokenizer_language(code: str) -> str:
    """The language under which sacreBLEU knows the tokenizer of a language: `yue` -> `zh`."""
    code = base_language(code)
    return TOKENIZER_LANGUAGE.get(code, code)
