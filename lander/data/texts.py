"""Dev and test sets, and the text that scores the neurons: lines as they are, without a filter of quality.

A held-out set is never filtered, shortened or reordered. The text of a language (paper, section 5.4: the same sentences
in every language) is drawn from the sources that hold *all* languages, if there are any. The draw depends on seed,
source and line only, so all languages get the same segments.
"""

import heapq
import sys
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

from lander.data import chunks
from lander.data.reading import MAX_LINE, aligned, read
from lander.data.repair import repair
from lander.data.sources import Source
from lander.shared.errors import UserError
from lander.shared.languages import Direction

TEXT_CHARACTERS = 2_000  # a longer segment is not a sentence to score neurons with


def hold_out(direction: Direction, sources: Sequence[Source], out: Path) -> None:
    """Write the lines of `sources`, in order, as a table `heldout`. A source without lines is an error of `read`."""
    if not sources:
        raise UserError(f"direction {direction}: no dev or test source holds a line of it")
    languages = (direction.source, direction.target)
    lines = (
        (text, reference, source.name, line)
        for source in sources
        for line, (text, reference) in read(source, languages, max_line=MAX_LINE)
    )
    chunks.write(out, "heldout", lines)


def write_text(
    language: str, languages: Sequence[str], sources: Sequence[Source], sentences: int, seed: int, out: Path
) -> None:
    """Draw the sentences that score the neurons of a language, as a table `text`. UserError if no source holds it.

    Args:
        language: of the text to write.
        languages: all that are scored; segments that are empty in one of them are left out for all.
        sentences: how many; if there are fewer, all are taken, with a warning.
    """
    shared = [source for source in sources if aligned(source, languages)]
    if not shared:
        shared = [source for source in sources if aligned(source, [language])]
        if not shared:
            raise UserError(f"language {language}: no source of awareness.data or data.train holds it")
        print(
            f"lander data: warning: no source holds all of {', '.join(languages)}; the neurons of {language} are "
            "scored on its own sentences, not on the same ones as those of the other languages",
            file=sys.stderr,
        )
        languages = (language,)
    if language not in languages:
        raise UserError(f"language {language}: not one of {', '.join(languages)}")
    place = list(languages).index(language)

    def keyed() -> Iterator[tuple[bytes, str, int, str]]:
        """(hash, origin, line, text) of every segment with text of a usable length in all languages."""
        for source in shared:
            for line, texts in read(source, languages, max_line=MAX_LINE, progress=True):
                usable = all(text.strip() and len(text) <= TEXT_CHARACTERS for text in texts)
                if usable and (text := repair(texts[place])):
                    key = f"{seed}\0{source.name}\0{line}".encode()
                    yield blake2b(key, digest_size=8).digest(), source.name, line, text

    chosen = heapq.nsmallest(sentences, keyed())
    if not chosen:
        raise UserError(f"language {language}: no usable line in {', '.join(source.name for source in shared)}")
    if len(chosen) < sentences:
        print(
            f"lander data: warning: {language}: {len(chosen):,} sentences to score neurons with, "
            f"not the {sentences:,} asked for",
            file=sys.stderr,
        )
    chunks.write(out, "text", ((text, origin, line) for _, origin, line, text in chosen))
