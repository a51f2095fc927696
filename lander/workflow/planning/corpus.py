"""How much text there is: lines of local files, counted; tokens of a pair, from a sample.

What is on the hub is not asked: `data.max_pairs` stands for it, or it is not known.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import mean

from lander.config import config
from lander.config.sources import Source
from lander.data import sources
from lander.data.templates import load_templates
from lander.data.textfiles import TextFile
from lander.shared.languages import Direction

SAMPLE = 100  # pairs
BYTES_PER_TOKEN = 3.5  # where the tokenizer is not on this machine; about that of BLOOM for European languages
LENGTHS = (40.0, 40.0, 40.0)  # tokens of prompt without source, source and target, where there is no text to look at


@dataclass(frozen=True)
class Text:
    """Training text of a direction. `pairs` is None where it is not known; `counted`: they are not `max_pairs`.

    Cleaning, which takes out some of the pairs, is not foreseen.
    """

    pairs: int | None
    counted: bool
    prompt: float  # tokens, mean
    target: float
    longest: float  # tokens of prompt and target together
    sampled: bool  # the lengths are those of the text

    @property
    def length(self) -> float:
        """Tokens of prompt and translation."""
        return self.prompt + self.target


def texts(settings: config.Config) -> dict[str, Text]:
    """The training text of every direction."""
    tokens = token_counter(settings)
    lines: dict[tuple, int | None] = {}
    return {str(direction): _text(settings, direction, tokens, lines) for direction in settings.directions}


def _text(
    settings: config.Config, direction: Direction, tokens: Callable[[str], float], lines: dict[tuple, int | None]
) -> Text:
    served = [source for source in settings.data.train if source.serves(direction)]
    counts = []
    for source in served:
        pair = direction.pair
        key = (source.name, pair)
        if key not in lines:
            lines[key] = count(source, (pair.source, pair.target))
        counts.append(lines[key])
    known = sum(number for number in counts if number is not None)
    most = settings.data.max_pairs or None
    counted = None not in counts
    pairs = (min(known, most) if most else known) if counted else most
    lengths = [found for source in served for found in sample(source, direction, settings, tokens)]
    prompt, target = LENGTHS[0] + LENGTHS[1], LENGTHS[2]
    if lengths:
        prompt, target = mean(a for a, _ in lengths), mean(b for _, b in lengths)
    longest = max((a + b for a, b in lengths), default=2 * (prompt + target))
    return Text(
        pairs, counted, prompt, target, min(longest, settings.finetune.max_length), sampled=bool(lengths)
    )  # fmt: skip


def count(source: Source, languages: Sequence[str]) -> int | None:
    """Pairs of a source in two languages; None where that is not known without reading much or asking the hub."""
    start, stop = sources.line_range(source.json)
    if stop is not None:
        return stop - start  # the stage data refuses a source that has fewer
    files = source.files(languages) if source.kind in ("files", "tsv") else []
    return max(0, lines_of(files[0]) - start) if files else None


def lines_of(path: str) -> int:
    """Lines of a text file, plain or .gz."""
    with TextFile(path) as file:
        return file.count_rest()


def sample(
    source: Source, direction: Direction, settings: config.Config, tokens: Callable[[str], float]
) -> list[tuple[float, float]]:
    """Tokens of the prompts and of the translations of a source's first pairs; none where it is not on this machine."""
    if source.remote or source.kind == "sacrebleu":
        return []
    names = [settings.languages[code] for code in (direction.source, direction.target)]
    templates = load_templates(settings.data.templates)
    languages = (direction.source, direction.target)
    start, stop = sources.line_range(source.json)
    few = source.json | {"lines": [start, min(stop or start + SAMPLE, start + SAMPLE)]}
    given = few if source.kind == "builtin" else source.json
    found = []
    for number, (_, (first, second)) in enumerate(islice(sources.read(given, languages), SAMPLE)):
        prompt = templates[number % len(templates)].fill(first, *names)
        found.append((tokens(prompt), tokens(second) + 1))
    return found


def token_counter(settings: config.Config) -> Callable[[str], float]:
    """Counts the tokens of a text, or estimates them where the base's tokenizer is not here."""
    base = config.find_base(settings.model.path, settings.pretrain.n_layer)
    if base.kind == "pretrain":
        return _by_bytes
    from transformers import AutoTokenizer

    try:
        where = str(base.folder) if base.folder else settings.model.path
        tokenizer = AutoTokenizer.from_pretrained(
            where, revision=settings.model.revision, local_files_only=True, trust_remote_code=False
        )
    except Exception:  # the tokenizers' library raises plain ones
        return _by_bytes
    return lambda text: float(len(tokenizer(text, add_special_tokens=False)["input_ids"]))


def _by_bytes(text: str) -> float:
    return len(text.encode()) / BYTES_PER_TOKEN


def plain(text: Text) -> dict:
    """As JSON."""
    return dataclasses.asdict(text)
