"""Language identification of texts, offline: a test of the script first, then the model embedded in py3langid.

The model knows 97 languages. It is asked only for the probabilities of a few candidates (the pair's languages and other
likely ones), which is faster and makes fewer errors. Naive Bayes over byte n-grams is overconfident, so a text is
refused only if its own language is *im*probable.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain

import numpy as np

from lander.data.measures import letters, script_share
from lander.shared.languages import base_language, script_of

OWN_SCRIPT = 0.1  # least share of a text's letters; names and terms in another script are normal
CHINESE = {"Hans", "Hant", "Hani", "Jpan"}  # texts in these scripts may be confused with one another
KIN = (  # families of languages: a relative may stand for a language in a script that the model has not learnt it in
    {"bg", "bs", "hr", "mk", "sl", "sr"},
    {"az", "kk", "ky", "tr", "ug"},
    {"hi", "mr", "ne", "pa", "ur"},
)
DEPTH = 4  # bytes of the longest feature: the automaton's state after a byte depends on at most these last bytes
RESET = b"\xff"  # in no text and no feature: leads from any state to the first one


class Judge:
    """Judges whether texts are in `language` rather than in one of the `candidates` or of its `partners` in the pair.

    `knows` is False if the model does not know the language: then every text passes. If it knows the language in
    another script (`sr` in Cyrillic for `sr-Latn`), all languages of the script that are no candidates stand for it.
    A partner is no candidate then: it may be the one that is most like it, as Croatian is. Romanian in Cyrillic looks
    Russian to the model: outside Latin, with its many languages, only the script is looked at unless `KIN` are there.
    """

    def __init__(self, language: str, candidates: Iterable[str], partners: Iterable[str] = ()) -> None:
        model, classes = _model(), _classes()
        code = classes.get(base_language(language))
        self.knows = code is not None
        self._script = script_of(language)
        alike = CHINESE if self._script in CHINESE else {self._script}
        stands = self.knows and script_of(language) != script_of(code) not in alike
        rivals = (*candidates, *(() if stands else partners))
        others = {classes[base] for base in map(base_language, rivals) if base in classes} - {code}
        # an unknown script is like any
        others = {one for one in others if not self._script or script_of(one) in {None, *alike}}
        own = {one for one in model.nb_classes if script_of(one) in alike} - others if stands else {code}
        rivals = sorted(own | others) if self.knows else []
        strangers = not any(base_language(language) in kin and own & kin for kin in KIN) and self._script != "Latn"
        self._alone = not others or not own or (stands and strangers)
        self._trust = 0.5 if stands else 1.0  # what stands for a language is less like it
        if self.knows and not self._alone:
            places = [model.nb_classes.index(other) for other in rivals]
            weights = np.asarray(model.nb_ptc[:, places], dtype=np.float64)  # (features, rivals)
            # for each state, the sum of the weights of the features that end in it
            ends = np.repeat(np.fromiter(model.tk_output, np.int64), list(map(len, model.tk_output.values())))
            by_state = np.zeros((len(_moves()) // 256, len(rivals)))
            np.add.at(by_state, ends, weights[list(chain.from_iterable(model.tk_output.values()))])
            self._weights = np.ascontiguousarray(by_state.T)  # (rivals, states)
            self._priors = np.asarray(model.nb_pc, dtype=np.float64)[places, None]  # (rivals, 1)
            self._own = [rivals.index(one) for one in sorted(own)]

    def probabilities(self, texts: Sequence[str], min_letters: int = 0) -> list[float]:
        """Probability of the language among the candidates, for each text.

        It is 1 for a text of fewer than `min_letters` letters, 0 for a text nearly all in another script, and 1 in a
        script that no other candidate uses; the model is not asked about these.
        """
        found = [1.0] * len(texts)
        asked = []
        for place, text in enumerate(texts) if self.knows else ():
            if len(letters(text)) < min_letters:
                continue
            if self._script and script_share(text, self._script) < OWN_SCRIPT:
                found[place] = 0.0
            elif not self._alone:
                asked.append(place)
        if asked:
            states, starts = _states([texts[place] for place in asked])
            scores = np.add.reduceat(self._weights.take(states, axis=1), starts, axis=1) + self._priors
            shares = np.exp(np.minimum(scores - scores[self._own].max(axis=0), 700))
            own = (shares[self._own].sum(axis=0) / shares.sum(axis=0)) ** self._trust
            for place, probability in zip(asked, own.tolist(), strict=True):
                found[place] = probability
        return found


@cache
def _model() -> object:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_pickled_model(MODEL_FILE)


@cache
def _classes() -> dict[str, str]:
    """Language -> the model's code for it: `fil` -> `tl`."""
    return {base_language(code): code for code in _model().nb_classes}


@cache
def _moves() -> np.ndarray:
    """(states * 256,) int32: 256 times the state that each byte leads to."""
    return np.array(_model().tk_nextmove, dtype=np.int32) * 256


def _states(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The automaton's states after each byte of the joined texts, and the index at which each text begins.

    All bytes are processed at once: `DEPTH` steps from the first state lead to the same state as all steps from the
    beginning of the text. A `RESET` precedes each text; its state has no features.
    """
    parts = [RESET + text.encode("utf-8", "surrogatepass") for text in texts]
    data = np.frombuffer(RESET * (DEPTH - 1) + b"".join(parts), dtype=np.uint8).astype(np.int32)
    length, moves = len(data) - DEPTH + 1, _moves()
    states = moves[data[:length]]
    for step in range(1, DEPTH):
        states = moves[states + data[step : step + length]]
    return states >> 8, np.cumsum([0, *map(len, parts[:-1])])
