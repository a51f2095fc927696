"""Stage `data`: parallel text is read, cleaned, split, sampled and given its instructions (paper, section 4.1).

Reads sources (see `lander.data.sources`), given as JSON. Writes Parquet tables, columns in `lander.shared.tables`:
`clean` -> the cleaned pairs of two languages (clean), why others were dropped (counts) and examples (JSON lines);
`sample` -> the training pairs of a direction (train, counts); `heldout` -> a dev or test set (heldout), never filtered;
`text` -> the sentences that score the neurons (text); `counts` -> all counts in one table.

    python -m lander.data clean --pair de-en --sources '[{"files": {"en": "en.txt", "de": "de.txt"}}]' \\
        --out clean.parquet --counts counts.parquet --dropped dropped.jsonl
"""

import argparse
import heapq
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path

import pandas as pd

from lander.data.cleaning import clean_pair
from lander.data.reading import MAX_LINE, aligned, read
from lander.data.repair import composed, decode, repair
from lander.data.sampling import sample
from lander.data.sources import Source, parse_json, parse_sources
from lander.shared import files, tables
from lander.shared.errors import UserError, run_main
from lander.shared.languages import Direction, parse_direction

TEXT_CHARACTERS = 2_000  # a longer segment is not a sentence to score neurons with


def hold_out(direction: Direction, sources: Sequence[Source], out: Path) -> None:
    """Write a dev or test set, a table `heldout`: the lines of `sources`, never filtered, shortened or reordered."""
    if not sources:
        raise UserError(f"direction {direction}: no dev or test source holds a line of it")
    languages = (direction.source, direction.target)

    uncomposed: Counter[str] = Counter()
    empty: Counter[str] = Counter()

    def rows() -> Iterator[tuple[str, str, str, int, list[str] | None]]:
        for source in sources:
            for line, texts in read(source, languages, max_line=MAX_LINE, several=True):
                (text, *_), (reference, *others) = ([one] if isinstance(one, str) else one for one in texts)
                every = (text, reference, *others)
                uncomposed[source.name] += any(composed(one) != one or decode(one) != one for one in every)
                empty[source.name] += not (text.strip() and reference.strip())
                yield text, reference, source.name, line, others or None

    tables.write_rows(out, rows(), "heldout")
    for name, count in (+empty).items():
        print(
            f"lander data: warning: {name}, {direction}: {count:,} lines have an empty source or reference; they stay",
            file=sys.stderr,
        )
    for name, count in (+uncomposed).items():
        print(
            f"lander data: warning: {name}, {direction}: {count:,} lines are not in NFC, hold invisible characters "
            "such as direction marks, or look wrongly decoded (&quot;); they stay, but training text is repaired",
            file=sys.stderr,
        )


def write_text(
    language: str, languages: Sequence[str], sources: Sequence[Source], sentences: int, seed: int, out: Path
) -> None:
    """Draw the sentences that score the neurons of a language, as a table `text` (paper, section 5.4).

    They are drawn from the sources that hold *all* languages, if there are any. The draw depends on seed, source and
    line only, so all languages get the same segments. UserError if no source holds the language.

    Args:
        language: of the text to write.
        languages: all that are scored; segments that are empty in one of them are left out for all.
        sentences: how many; if there are fewer, all are taken, with a warning.
    """
    shared = [source for source in sources if aligned(source, languages)]
    if not shared:
        if not (shared := [source for source in sources if aligned(source, [language])]):
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
    tables.write_rows(out, ((text, origin, line) for _, origin, line, text in chosen), "text")


def join_counts(counts: list[Path], out: Path, csv: Path | None) -> None:
    """Join tables `counts`."""
    table = pd.concat([tables.read(path, "counts") for path in counts], ignore_index=True)
    if csv:
        files.write_text(csv, table.to_csv(index=False, lineterminator="\n"))
    tables.write(out, table, "counts")


def main(argv: list[str] | None = None) -> None:
    """Run the subcommand that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m lander.data", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    names, mapping = partial(parse_json, kind=list), partial(parse_json, kind=dict)

    def command(name: str, run: Callable[..., None], text: str) -> Callable[..., argparse.Action]:
        """Add a subcommand; its flags are the arguments of `run`."""
        added = commands.add_parser(name, help=text)
        added.set_defaults(run=run)
        return added.add_argument

    add = command("clean", clean_pair, "clean the pairs of two languages")
    add("--pair", required=True, type=parse_direction, help="two languages, alphabetically: de-en")
    add("--sources", required=True, type=parse_sources, help="JSON list of sources")
    add("--exclude", default=[], type=parse_sources, help="JSON list: texts not to be trained on")
    add("--cleaning", default={}, type=mapping, help="JSON: order and thresholds (data.cleaning)")
    add("--out", required=True, type=Path, help="table `clean` to write")
    add("--counts", required=True, type=Path, help="table `counts` to write")
    add("--dropped", required=True, type=Path, help="examples of dropped pairs, JSON lines, to write")

    add = command("sample", sample, "draw the training pairs of a direction")
    add("--direction", required=True, type=parse_direction, help="for example en-de")
    add("--clean", required=True, type=Path, help="table `clean` of the pair")
    add("--counts", required=True, type=Path, help="table `counts` of the pair")
    add("--origins", required=True, type=names, help="JSON list: names of sources that may serve it")
    add("--max-pairs", type=int, default=0, help="pairs at most, 0 takes all (data.max_pairs)")
    add("--seed", type=int, default=0, help="of the draw and the templates")
    add("--templates", help="YAML file of instruction templates; by default Lander's own")
    add("--cleaning", default={}, type=mapping, help="as for clean; its `duplicates` count here too")
    add("--out", required=True, type=Path, help="table `train` to write")
    add("--counts-out", required=True, type=Path, help="table `counts` to write")

    add = command("heldout", hold_out, "read a dev or test set; never filters")
    add("--direction", required=True, type=parse_direction, help="for example en-de")
    add("--sources", required=True, type=parse_sources, help="JSON list of sources")
    add("--out", required=True, type=Path, help="table `heldout` to write")

    add = command("text", write_text, "draw the sentences that score the neurons of a language")
    add("--language", required=True, help="whose text to write")
    add("--languages", required=True, type=names, help="JSON list: all languages that are scored")
    add("--sources", required=True, type=parse_sources, help="JSON list of sources")
    add("--sentences", required=True, type=int, help="how many to draw")
    add("--seed", type=int, default=0, help="of the draw")
    add("--out", required=True, type=Path, help="table `text` to write")

    add = command("counts", join_counts, "join tables of counts")
    add("--counts", required=True, nargs="+", type=Path, help="tables `counts`")
    add("--out", required=True, type=Path, help="table `counts` to write")
    add("--csv", type=Path, help="the same as CSV")
    arguments = vars(parser.parse_args(argv))
    arguments.pop("run")(**arguments)


if __name__ == "__main__":
    run_main(main, "data")
