"""BLEU with the right tokenizer for the target language, or with one that was asked for.

What misleads is refused: 13a splits at spaces and punctuation, and Chinese has no spaces. The paper's signature says
`tok.13a` for all its directions, en-zh too; such a score is the separate metric `bleu_13a`, never `bleu`.

A separate module, so that stages which choose by BLEU (the best prompt) do not depend on how the rest is scored.
"""

import sys
from pathlib import Path

from sacrebleu.metrics import BLEU

from lander.shared.errors import UserError

# sacreBLEU knows zh, ja and ko; these are other codes of the same, and other Chinese languages
TOKENIZER_LANGUAGE = {
    "zho": "zh", "chi": "zh", "cmn": "zh", "yue": "zh", "wuu": "zh", "nan": "zh", "hak": "zh", "lzh": "zh",
    "jpn": "ja", "kor": "ko",
}  # fmt: skip
UNSPACED = {"th", "tha", "lo", "lao", "km", "khm", "my", "mya", "bo", "bod", "dz", "dzo"}
AT_SPACES = ("13a", "intl", "none")  # tokenizers that split at spaces and punctuation only
CHOICES = (*AT_SPACES, "char", "zh", "ja-mecab", "ko-mecab")
OWN_TOKENIZER = {"zh": "zh", "ja": "ja-mecab"}  # of languages without spaces
FLORES = "flores200"
EXTRAS = ("spbleu", "bleu_13a")


def bleu_for(language: str, tokenizer: str | None = None) -> BLEU:
    """sacreBLEU's BLEU into a language.

    Args:
        tokenizer: of `CHOICES`; None: the one that sacreBLEU chooses for the language (`zh-Hant` -> zh, `de` -> 13a).
    Raises:
        UserError: the tokenizer cannot split the language into words, or its package is missing.
    """
    code = base_language(language)
    code = TOKENIZER_LANGUAGE.get(code, code)
    if tokenizer in AT_SPACES and code in OWN_TOKENIZER:
        raise UserError(
            f"--tokenizer {tokenizer}: refused for {language}, which is written without spaces: {tokenizer} splits at "
            f"spaces and punctuation, so whole phrases count as words and BLEU can be 20 points off; leave it out "
            f"(then it is {OWN_TOKENIZER[code]}), or ask for the separate metric bleu_13a"
        )
    if tokenizer is not None:
        return _make(tokenizer)
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


def extra_bleu(metric: str) -> BLEU:
    """The BLEU behind a metric of `EXTRAS`.

    Raises:
        UserError: spBLEU without its sentencepiece model on this machine.
    """
    if metric == "bleu_13a":
        return _make("13a")
    check_flores()
    return _make(FLORES)


def _make(tokenizer: str) -> BLEU:
    try:
        return BLEU(tokenize=tokenizer, force=True)
    except (RuntimeError, ImportError):
        raise UserError(
            f'--tokenizer {tokenizer}: its package is not installed; run `pip install "sacrebleu[{tokenizer[:2]}]"`'
        ) from None


def check_flores() -> None:
    """spBLEU's sentencepiece model must be on this machine: sacreBLEU would fetch it in the middle of a run.

    Raises:
        UserError: it is not.
    """
    path, _url = flores()
    if not path.is_file() or not path.stat().st_size:
        raise UserError(
            f"metric spbleu: sacreBLEU's {FLORES} model is not on this machine ({path} is missing or empty); with a "
            "network, `lander prefetch` fetches it once; else copy the file there, or leave the metric out"
        )


def flores() -> tuple[Path, str]:
    """Where sacreBLEU keeps spBLEU's sentencepiece model (the variable SACREBLEU names another folder), and its URL."""
    from sacrebleu.tokenizers import tokenizer_spm

    url = tokenizer_spm.SPM_MODELS[FLORES]["url"]
    return Path(tokenizer_spm.SACREBLEU_DIR, "models", Path(url).name), url


def base_language(code: str) -> str:
    """The language of a code without script and region: `zh-Hant` -> `zh`."""
    return code.replace("_", "-").split("-")[0].lower()
