"""BLEU with a tokenizer that was asked for, instead of the target language's own (`lander.evaluate.bleu`).

What misleads is refused: 13a splits at spaces and punctuation, and Chinese has no spaces. The paper's signature says
`tok.13a` for all its directions, en-zh too; such a score is the separate metric `bleu_13a`, never `bleu`.
"""

from pathlib import Path

from sacrebleu.metrics import BLEU

from lander.evaluate.bleu import bleu_for, tokenizer_language
from lander.shared.errors import UserError

AT_SPACES = ("13a", "intl", "none")  # tokenizers that split at spaces and punctuation only
CHOICES = (*AT_SPACES, "char", "zh", "ja-mecab", "ko-mecab")
OWN_TOKENIZER = {"zh": "zh", "ja": "ja-mecab"}  # of languages without spaces
FLORES = "flores200"
EXTRAS = ("spbleu", "bleu_13a")


def bleu_with(language: str, tokenizer: str | None) -> BLEU:
    """BLEU into a language with a tokenizer of `CHOICES`; None: the language's own.

    Raises:
        UserError: the tokenizer cannot split the language into words, or its package is missing.
    """
    if tokenizer is None:
        return bleu_for(language)
    code = tokenizer_language(language)
    if tokenizer in AT_SPACES and code in OWN_TOKENIZER:
        raise UserError(
            f"--tokenizer {tokenizer}: refused for {language}, which is written without spaces: {tokenizer} splits at "
            f"spaces and punctuation, so whole phrases count as words and BLEU can be 20 points off; leave it out "
            f"(then it is {OWN_TOKENIZER[code]}), or ask for the separate metric bleu_13a"
        )
    return _make(tokenizer)


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
