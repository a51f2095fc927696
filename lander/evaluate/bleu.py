"""sacreBLEU's BLEU with the tokenizer of the target language, or with another one.

Tokenizers that mislead are refused: 13a splits at spaces and punctuation, and Chinese has no spaces. The paper's
signature says `tok.13a` for all its directions, en-zh too; such a score is the separate metric `bleu_13a`.

A separate module, so that stages which choose by BLEU (the best prompt) do not depend on how the rest is scored.
sacreBLEU is imported where it is used: the config reads the table of metrics, which names these functions.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lander.shared.errors import UserError
from lander.shared.languages import script_of

if TYPE_CHECKING:
    from sacrebleu.metrics import BLEU

# of scripts that sacreBLEU does not split by 13a
TOKENIZER = {
    **dict.fromkeys(("Hans", "Hant", "Hani", "Hanb", "Bopo"), "zh"),
    **dict.fromkeys(("Jpan", "Hira", "Kana", "Hrkt"), "ja-mecab"),
    **dict.fromkeys(("Kore", "Hang"), "ko-mecab"),
}
UNSPACED = ("Thai", "Laoo", "Khmr", "Mymr", "Tibt")
AT_SPACES = ("13a", "intl", "none")  # tokenizers that split at spaces and punctuation only
CHOICES = (*AT_SPACES, "char", "zh", "ja-mecab", "ko-mecab")
FLORES = "flores200"


def bleu_for(language: str, tokenizer: str | None = None) -> "BLEU":
    """BLEU into a language: `zh` and `zh-Hant` get tokenizer zh, `de` gets 13a, unless another of `CHOICES` is given.

    UserError if the tokenizer cannot split the language into words, or if its package is not installed.
    """
    own = TOKENIZER.get(script_of(language), "13a")
    if tokenizer in AT_SPACES and own in ("zh", "ja-mecab"):
        raise UserError(
            f"--tokenizer {tokenizer}: refused for {language}, which is written without spaces: whole phrases would "
            f"count as words, and BLEU can be 20 points off; leave it out (then it is {own}), or ask for the separate "
            "metric bleu_13a"
        )
    if not tokenizer and script_of(language) in UNSPACED:
        print(
            f"lander evaluate: note: {language} is written without spaces and sacreBLEU has no tokenizer for it; "
            "BLEU counts whole phrases as words, read chrF2++ instead",
            file=sys.stderr,
        )
    return bleu_with(tokenizer or own)


def missing_tokenizer(language: str) -> str | None:
    """Why BLEU into a language cannot be computed here: its tokenizer is not installed."""
    own = TOKENIZER.get(script_of(language), "13a")
    try:
        if own.endswith("-mecab"):  # the others come with sacreBLEU, which takes a while to import
            bleu_with(own)
    except UserError as error:
        return str(error)
    return None


def bleu_with(tokenizer: str) -> "BLEU":
    """BLEU with a tokenizer of sacreBLEU, for any language; UserError if its package is not installed."""
    from sacrebleu.metrics import BLEU

    try:
        return BLEU(tokenize=tokenizer, force=True)  # force: no warning about outputs that look tokenized
    except (RuntimeError, ImportError):
        raise UserError(
            f'BLEU with tokenizer {tokenizer}: not installed; run `pip install "sacrebleu[{tokenizer[:2]}]"`'
        ) from None


def flores() -> tuple[Path, str]:
    """Where sacreBLEU keeps spBLEU's sentencepiece model (the variable SACREBLEU names another folder), and its URL."""
    from sacrebleu.tokenizers import tokenizer_spm

    url = tokenizer_spm.SPM_MODELS[FLORES]["url"]
    return Path(tokenizer_spm.SACREBLEU_DIR, "models", Path(url).name), url
