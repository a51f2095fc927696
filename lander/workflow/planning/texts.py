"""How much text there is: lines of local files, counted; tokens of a pair, from a sample.

Nothing is downloaded: for a source on the hub `data.max_pairs` is taken, or the number is unknown.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import mean

from lander.config import config
from lander.config.sources import Source
from lander.data import sources
from lander.data.templates import load_templates
from lander.data.textfiles import TextFile
from lander.finetune.schedule import POOL
from lander.shared.languages import Direction

BYTES_PER_TOKEN = 3.5  # without the tokenizer; about BLOOM's for European languages
UNKNOWN = (80.0, 40.0)  # tokens of prompt (with the source) and of translation, where there is no text to look at


@dataclass(frozen=True)
class Text:
    """Training text of a direction, before cleaning. Lengths are tokens.

    Attributes:
        pairs: None where the number is unknown; counted: it is not `max_pairs`.
        prompt, target: means over pairs, of prompt and translation.
        longest: prompt and translation of the longest pair; predicted: mean translation in the longest micro-batch.
        sampled: the lengths are those of the text.
    """

    pairs: int | None
    counted: bool
    prompt: float
    target: float
    longest: float
    predicted: float
    sampled: bool

    @property
    def length(self) -> float:
        """Tokens of prompt and translation."""
        return self.prompt + self.target


def texts(settings: config.Config) -> dict[str, Text]:
    """The training text of every direction."""
    tokens = token_counter(settings)
    lines: dict[tuple, int | None] = {}
    found = {}
    for direction in settings.directions:
        served = [source for source in settings.data.train if source.serves(direction)]
        keys = [(source.name, direction.pair) for source in served]
        for source, (name, pair) in zip(served, keys, strict=True):
            if (name, pair) not in lines:
                lines[name, pair] = count(source, (pair.source, pair.target))
        counts = [lines[key] for key in keys]
        most = settings.data.max_pairs or None
        pairs = most if None in counts else min(sum(counts), most or sum(counts))
        lengths = [both for source in served for both in sample(source, direction, settings, tokens)]
        lengths = [both for both in lengths if sum(both) <= settings.finetune.max_length]
        batch = sorted(lengths, key=sum)[-settings.finetune.batch_size :] or [(2 * UNKNOWN[0], 2 * UNKNOWN[1])]
        prompt, target = (mean(part) for part in zip(*(lengths or [UNKNOWN]), strict=True))
        longest = min(sum(batch[-1]), settings.finetune.max_length)
        predicted = min(mean(target for _, target in batch), longest)
        found[str(direction)] = Text(pairs, None not in counts, prompt, target, longest, predicted, bool(lengths))
    return found


def count(source: Source, languages: Sequence[str]) -> int | None:
    """Pairs of a source in two languages; None where that takes a download or much reading."""
    start, stop = sources.line_range(source.json)
    if stop is not None:
        return stop - start  # the stage data refuses a source that has fewer
    files = source.files(languages) if source.kind in ("files", "tsv") else []
    if not files:
        return None
    with TextFile(files[0]) as file:
        return max(0, file.count_rest() - start)


def sample(
    source: Source, direction: Direction, settings: config.Config, tokens: Callable[[str], float]
) -> list[tuple[float, float]]:
    """Tokens of the prompts and of the translations of a source's first pairs; none where it is not on this machine.

    As many pairs as the training sorts by length together (`lander.finetune.schedule`): the longest of them share a
    micro-batch.
    """
    if source.remote or source.kind == "sacrebleu":
        return []
    names = [settings.languages[code] for code in (direction.source, direction.target)]
    templates = load_templates(settings.data.templates)
    size = settings.finetune.batch_size * POOL
    start, stop = sources.line_range(source.json)
    given = source.json
    if source.kind == "builtin":
        given = given | {"lines": [start, min(stop or start + size, start + size)]}
    found = []
    for number, (_, (first, second)) in enumerate(
        islice(sources.read(given, (direction.source, direction.target)), size)
    ):
        prompt = templates[number % len(templates)].fill(first, *names)
        found.append((tokens(prompt), tokens(second) + 1))
    return found


def token_counter(settings: config.Config) -> Callable[[str], float]:
    """Counts the tokens of a text, or estimates them where the base's tokenizer is not on this machine."""
    base = settings.base
    if base.kind != "pretrain":
        from transformers import AutoTokenizer

        where, revision = str(base.folder or settings.model.path), settings.model.revision
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                where, revision=revision, local_files_only=True, trust_remote_code=False
            )
        except Exception:  # the tokenizers' library raises plain ones
            tokenizer = None
        if tokenizer:
            return lambda text: float(len(tokenizer(text, add_special_tokens=False)["input_ids"]))
    return lambda text: len(text.encode()) / BYTES_PER_TOKEN
