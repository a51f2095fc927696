"""What pretraining reads: documents, the tokenizer learned from them, and windows of tokens.

A document is a sentence, or a prompt in the base's own format with its translation. A window begins with a document;
a document that does not fit at the end is cut there.
"""

import hashlib
import json
from collections.abc import Iterator
from itertools import permutations

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from lander.data.templates import Template
from lander.shared.errors import UserError

PROMPT = "{source_language}: {source}\n{target_language}:\n"
"""The base's own prompt format. Like every template it ends with a line break: the translation is the next line."""
OWN = Template("own", PROMPT)

SPECIAL = ("<unk>", "<s>", "</s>", "<pad>")  # BLOOM's, in BLOOM's order
END = SPECIAL.index("</s>")
TOKENIZER_DOCUMENTS = 150_000  # read to learn the tokenizer; more change nothing
AHEAD = 64  # documents tokenized at a time


class Documents:
    """The endless sequence of documents that pretraining reads; document k depends on k alone."""

    def __init__(
        self,
        single: list[str],
        parallel: list[dict[str, list[str]]],
        names: dict[str, str],
        bilingual: float,
        seed: int,
    ) -> None:
        """
        Args:
            single: sentences, each a document.
            parallel: multi-parallel texts, each a mapping from language to its lines; every ordered pair is read.
            names: English name of each language, for the prompts.
            bilingual: share of pairs among the documents.
            seed: of the order; each epoch is shuffled differently.
        """
        self.single, self.parallel, self.names, self.bilingual, self.seed = single, parallel, names, bilingual, seed
        self._blocks = [(text, pair) for text in parallel for pair in permutations(sorted(text), 2)]
        sizes = [len(text[pair[0]]) for text, pair in self._blocks]
        self._ends = np.cumsum(sizes, dtype=np.int64)
        self._orders: dict[str, tuple[int, np.ndarray]] = {}  # kind -> epoch and its order
        if not single and bilingual < 1:
            raise UserError("--sources: they hold no text in the languages of the config")
        if not sum(sizes) and bilingual > 0:
            raise UserError("--parallel: no source holds two of the languages; give some, or --bilingual 0")

    def digest(self) -> str:
        """SHA-256 (hex) of all lines in their order."""
        digest = hashlib.sha256()
        for lines in (self.single, *(text[language] for text in self.parallel for language in sorted(text))):
            digest.update(json.dumps(lines).encode())
        return digest.hexdigest()

    def __getitem__(self, number: int) -> tuple[str, ...]:
        """Document `number`: (sentence,) or (prompt, translation)."""
        pairs = int(number * self.bilingual)
        if int((number + 1) * self.bilingual) == pairs:
            return (self.single[self._index("single", number - pairs, len(self.single))],)
        index = self._index("pairs", pairs, int(self._ends[-1]))
        block = int(np.searchsorted(self._ends, index, side="right"))
        text, (source, target) = self._blocks[block]
        line = index - int(self._ends[block])  # negative: counts from the block's end
        prompt = OWN.fill(text[source][line], self.names[source], self.names[target])
        return (prompt, text[target][line])

    def _index(self, kind: str, position: int, size: int) -> int:
        """The shuffled index of a position; the order of the current epoch of each kind is kept."""
        epoch, place = divmod(position, size)
        if self._orders.get(kind, (None,))[0] != epoch:
            order = np.random.default_rng([self.seed, epoch, len(kind)]).permutation(size)
            self._orders[kind] = (epoch, order)
        return int(self._orders[kind][1][place])


def windows(documents: Documents, tokenizer: Tokenizer, context: int, start: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yield windows, int64 (context), from document `start` on, each with the number of the next document.

    A prompt and its translation are tokenized separately, as in finetuning and decoding.
    """
    queue: list[list[int]] = []
    number = start
    window: list[int] = []
    while True:
        if not queue:
            batch = [documents[k] for k in range(number, number + AHEAD)]
            parts = tokenizer.encode_batch_fast([part for texts in batch for part in texts], add_special_tokens=False)
            ids = iter(part.ids for part in parts)
            queue = [[token for _ in texts for token in next(ids)] + [END] for texts in batch][::-1]
        window += queue.pop()
        number += 1
        if len(window) >= context:
            yield np.array(window[:context], dtype=np.int64), number
            window = []


def train_tokenizer(documents: Documents, size: int) -> Tokenizer:
    """A byte-level BPE like BLOOM's with `size` tokens, learned from the documents as the model will read them.

    Each digit is a token, nothing is added before or after a text, and "</s>" in a text stays text.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    count = min(TOKENIZER_DOCUMENTS, 4 * (len(documents.single) + sum(len(t) for x in documents.parallel for t in x)))
    tokenizer.train_from_iterator((part for k in range(count) for part in documents[k]), trainer)
    tokenizer.encode_special_tokens = True
    return tokenizer
