"""Language identification of one text, offline: a test of the script first, then the model embedded in py3langid.

The model knows 97 languages; it is asked only for the probabilities of a few candidates (the pair's languages and
other likely ones), which is faster and errs less. Naive Bayes over byte n-grams is too sure of itself, so a text is
refused only where its own language is *im*probable.
"""

import sys
from collections.abc import Iterable
from functools import cache
from itertools import chain

import numpy as np

from lander.data.measures import letters, script_of, script_share

OWN_SCRIPT = 0.1  # of a text's letters; names and terms of another script are normal


class Judge:
    """Judges whether a text is in `language` rather than in one of the `candidates`.

    `knows` is False where the model does not know the language: then nothing is judged.
    """

    def __init__(self, language: str, candidates: Iterable[str]) -> None:
        model = _model()
        code = language.split("-")[0]
        self.knows = code in model.nb_classes
        known = {candidate.split("-")[0] for candidate in candidates} & set(model.nb_classes) | {code}
        self._script = script_of(language)
        rivals = [other for other in sorted(known) if other == code or _same_script(script_of(other), self._script)]
        self._alone = rivals == [code]
        if self.knows and not self._alone:
            places = [model.nb_classes.index(other) for other in rivals]
            self._weights = np.ascontiguousarray(model.nb_ptc[:, places], dtype=np.float64)  # (features, rivals)
            self._priors = np.asarray(model.nb_pc, dtype=np.float64)[places]
            self._place = rivals.index(code)

    def probability(self, text: str, min_letters: int) -> float:
        """Probability of the language among the candidates; 1 for a text too short to be judged.

        A text nearly all in another script has probability 0, and one in a script of which no other candidate makes use
        has 1, without asking the model.
        """
        if not self.knows or len(letters(text)) < min_letters:
            return 1.0
        if self._script and script_share(text, self._script) < OWN_SCRIPT:
            return 0.0
        if self._alone:
            return 1.0
        scores = self._weights[_features(text)].sum(axis=0) + self._priors
        return float(1 / np.exp(np.minimum(scores - scores[self._place], 700)).sum())


def warn_unknown(languages: Iterable[str]) -> None:
    """Say once, on stderr, which languages the model does not know."""
    unknown = [language for language in languages if language.split("-")[0] not in _model().nb_classes]
    if unknown:
        print(
            f"lander data: warning: the language identifier does not know {', '.join(unknown)}; "
            "texts of it are not judged by language",
            file=sys.stderr,
        )


def _same_script(one: str | None, other: str | None) -> bool:
    """Whether two languages may be confused by their script: Chinese is one script here, an unknown one any."""
    chinese = {"Hans", "Hant", "Hani", "Jpan"}
    return one is None or other is None or one == other or {one, other} <= chinese


@cache
def _model() -> object:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_pickled_model(MODEL_FILE)


def _features(text: str) -> list[int]:
    """Indices of the model's features in a text, with repeats: its automaton reads the bytes (as `instance2fv`)."""
    model = _model()
    moves, outputs = model.tk_nextmove, model.tk_output
    state = 0
    states = []
    for byte in text.encode("utf-8", "surrogatepass"):
        state = moves[(state << 8) + byte]
        states.append(state)
    return list(chain.from_iterable(map(outputs.get, filter(outputs.__contains__, states))))
