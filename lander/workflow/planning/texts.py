"""How much text there is: lines of local files, counted; tokens of a pair, from a sample.

Nothing is downloaded: for a source on the hub `data.max_pairs` is taken, or the number is unknown.
"""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from itertools import cycle, islice
from statistics import mean

from lander.config import config
from lander.data.reading import read
from lander.data.sources import Source
from lander.data.templates import load_templates
from lander.data.textfiles import TextFile
from lander.finetune.schedule import POOL
from lander.shared.languages import Direction

BYTES_PER_TOKEN = 3.5  # without the tokenizer; about BLOOM's for European languages
UNKNOWN = (80.0, 40.0)  # tokens of prompt (with the source) and of translation, where there is no text to look at


@dataclass(frozen=True)
class Text:
    """Training text of a direction, before cleaning. Lengths are tokens."""

    pairs: int | None  # None: unknown
    counted: bool  # not taken from `data.max_pairs`
    prompt: float  # mean over pairs
    target: float  # mean over pairs, of the translation
    longest: float  # prompt and translation of the longest pair
    predicted: float  # mean translation in the longest micro-batch
    sampled: bool  # the lengths are those of the text

    @property
    def length(self) -> float:
        """Tokens of prompt and translation."""
        return self.prompt + self.target


def texts(settings: config.Config) -> dict[str, Text]:
    """The training text of every direction."""
    tokens, finetune = token_counter(settings), settings.finetune
    lines: dict[tuple[str, Direction], int | None] = {}  # both directions of a pair have as many
    found = {}
    for direction in settings.directions:
        served = [source for source in settings.data.train if source.serves(direction)]
        for source in served:
            if (source.name, direction.pair) not in lines:
                lines[source.name, direction.pair] = count(source, astuple(direction.pair))
        counts = [lines[source.name, direction.pair] for source in served]
        most = settings.data.max_pairs or None
        pairs = most if None in counts else min(sum(counts), most or sum(counts))
        lengths = [both for source in served for both in sample(source, direction, settings, tokens)]
        lengths = [both for both in lengths if sum(both) <= finetune.max_length]
        batch = sorted(lengths, key=sum)[-finetune.batch_size :] or [(2 * UNKNOWN[0], 2 * UNKNOWN[1])]
        prompt, target = (mean(part) for part in zip(*(lengths or [UNKNOWN]), strict=True))
        longest = min(sum(batch[-1]), finetune.max_length)
        predicted = min(mean(target for _, target in batch), longest)
        found[str(direction)] = Text(pairs, None not in counts, prompt, target, longest, predicted, bool(lengths))
    return found


def count(source: Source, languages: Sequence[str]) -> int | None:
    """Pairs of a source in two languages; None where that takes a download or much reading."""
    start, stop = source.range
    if stop is not None:
        return stop - start  # the stage data refuses a source that has fewer
    files = source.paths(languages) if source.kind in ("files", "tsv") else []
    if not files:
        return None
    with TextFile(files[0]) as file:
        return max(0, file.count_rest() - start)


def sample(
    source: Source, direction: Direction, settings: config.Config, tokens: Callable[[str], float]
) -> list[tuple[float, float]]:
    """Tokens of the prompts and of the translations of a source's first pairs; none if it is not on this machine.

    There are as many pairs as the training sorts by length together: the longest of them share a micro-batch.
    """
    if source.remote or source.kind == "sacrebleu":
        return []
    names = [settings.languages[code] for code in astuple(direction)]
    size = settings.finetune.batch_size * POOL
    if source.kind == "builtin":
        start, stop = source.range
        source = source.model_copy(update={"lines": (start, min(stop, start + size))})
    pairs = islice(read(source, astuple(direction)), size)
    templates = cycle(load_templates(settings.data.templates))
    return [
        (tokens(template.fill(first, *names)), tokens(second) + 1)
        for template, (_, (first, second)) in zip(templates, pairs, strict=False)
    ]


def token_counter(settings: config.Config) -> Callable[[str], float]:
    """Counts the tokens of a text, or estimates them if the base's tokenizer is not on this machine."""
    base = settings.base
    if base.kind != "pretrain":
        from transformers import AutoTokenizer

        where, options = str(base.folder or settings.model.path), {"local_files_only": True, "trust_remote_code": False}
        try:
            tokenizer = AutoTokenizer.from_pretrained(where, revision=settings.model.revision, **options)
            return lambda text: float(len(tokenizer(text, add_special_tokens=False)["input_ids"]))
        except Exception:  # the tokenizers' library raises plain ones
            pass
    return lambda text: len(text.encode()) / BYTES_PER_TOKEN
