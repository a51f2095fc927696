"""What cleaning costs: `python -m lander.data clean` beside OpusFilter with the same filters and language identifier.

    pip install -e .[bench]
    python -m benchmarks.clean
    python -m benchmarks.clean --text FOLDER --opusfilter PROGRAM   # FOLDER/<language>.txt or .txt.gz

Measured: both read the same two plain files and write what remains after the filters for length, length ratio, long
words, tags, script, language (py3langid with the same candidates on both sides) and duplicates; once with and once
without the language. Each system is a separate process; they take turns. Seconds, wall and CPU, are those of the
process with all its children, start-up included. OpusFilter uses --jobs processes. Lander uses one per language pair
(Snakemake runs the pairs side by side). `vs_opusfilter` is the ratio of pairs per second of wall time if --jobs is 1,
and of CPU time otherwise.

Memory: the peak of Lander's process for each of --sizes; mb_per_million is its growth per million pairs. If there is
too little text, it is repeated with another number at the end of both sides each time.

Bound: none from arithmetic; the goal is to be faster than the peer, OpusFilter, with memory that does not grow with
the text.
JSON: `pairs_per_s`, `peaks_mb`, `rates`; with OpusFilter also vs_opusfilter and vs_opusfilter_no_language.
"""

import argparse
import contextlib
import gzip
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import yaml

from lander.data import cldr
from lander.data.settings import DEFAULTS

ORDER = ["length", "length_ratio", "long_word", "markup", "alphabet", "language", "duplicates"]
SCRIPTS = {"ar": "Arabic", "zh": "Han", "ru": "Cyrillic", "el": "Greek"}  # Latin otherwise


@dataclass(frozen=True)
class Cost:
    """Cost of a process: seconds of wall and CPU time, peak bytes of its largest process, pairs kept."""

    wall: float
    cpu: float
    peak: int
    kept: int


def pairs(args: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """An endless stream of pairs without repetition."""
    if args.text:
        sides = [read(args.text, language) for language in args.languages]
    else:
        found = cldr.lines(args.languages, 0, min(max(args.pairs, 1), 30_000))
        sides = [found[language] for language in args.languages]
    for turn in count():
        for first, second in zip(*sides, strict=True):
            yield (first, second) if turn == 0 else (f"{first} {turn}", f"{second} {turn}")


def read(folder: Path, language: str) -> list[str]:
    """The lines of folder/<language>.txt or .txt.gz."""
    plain = folder / f"{language}.txt"
    if plain.exists():
        return plain.read_text(encoding="utf-8").splitlines()
    with gzip.open(f"{plain}.gz", "rt", encoding="utf-8") as stream:
        return stream.read().splitlines()


def write_text(folder: Path, args: argparse.Namespace, size: int) -> None:
    """folder/in.<language>"""
    with contextlib.ExitStack() as stack:
        paths = [folder / f"in.{language}" for language in args.languages]
        files = [stack.enter_context(open(path, "w", encoding="utf-8")) for path in paths]
        for pair in islice(pairs(args), size):
            for stream, text in zip(files, pair, strict=True):
                stream.write(text + "\n")


def run(command: list[str], folder: Path) -> tuple[float, float, int]:
    """Run a process: wall seconds, CPU seconds, peak bytes."""
    with open(folder / "log", "w") as log:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": ROOT})
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
    if status:
        sys.exit(f"{' '.join(command[:4])} failed:\n{(folder / 'log').read_text()[-2000:]}")
    return wall, used.ru_utime + used.ru_stime, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


ROOT = str(Path(__file__).parent.parent)


def lander(folder: Path, args: argparse.Namespace, language: bool) -> Cost:
    """Clean with Lander."""
    import pandas as pd

    pair = "-".join(sorted(args.languages))
    source = [{"name": "text", "files": {code: str(folder / f"in.{code}") for code in args.languages}}]
    cleaning = {"order": [step for step in ORDER if language or step != "language"], "candidates": args.languages}
    command = [sys.executable, "-m", "lander.data", "clean", "--pair", pair, "--sources", json.dumps(source)]
    command += ["--cleaning", json.dumps(cleaning), "--out", "out.parquet", "--counts", "counts.parquet"]
    cost = run([*command, "--dropped", "dropped.jsonl"], folder)
    counts = pd.read_parquet(folder / "counts.parquet")
    return Cost(*cost, int(counts.loc[counts["reason"] == "kept", "pairs"].sum()))


def opusfilter(folder: Path, args: argparse.Namespace, language: bool) -> Cost:
    """Clean with OpusFilter."""
    names = {stage: [f"{stage}.{code}" for code in args.languages] for stage in ("in", "filtered", "out")}
    steps = [
        step("filter", names["in"], names["filtered"], {"filters": filters(args.languages, language)}),
        step("remove_duplicates", names["filtered"], names["out"], {}),
    ]
    common = {"output_directory": str(folder), "default_n_jobs": args.jobs}
    (folder / "opusfilter.yaml").write_text(yaml.safe_dump({"common": common, "steps": steps}))
    cost = run([args.opusfilter, "--overwrite", "opusfilter.yaml"], folder)
    with open(folder / names["out"][0], encoding="utf-8") as stream:
        return Cost(*cost, sum(1 for _ in stream))


def step(kind: str, inputs: list[str], outputs: list[str], parameters: dict) -> dict:
    """A step of OpusFilter's."""
    return {"type": kind, "parameters": {"inputs": inputs, "outputs": outputs, **parameters}}


def filters(languages: list[str], language: bool) -> list[dict]:
    """OpusFilter's counterparts of `ORDER`, at Lander's thresholds; its language filter takes the most probable one."""
    of = DEFAULTS["default"]
    limits = {"min_length": of["length"]["min"], "max_length": of["length"]["max"], "unit": "word"}
    share = of["alphabet"]
    found = [
        {"LengthFilter": limits},
        {"LengthRatioFilter": {"threshold": of["length_ratio"]["max"], "unit": "char"}},
        {"LongWordFilter": {"threshold": of["long_word"]["max"]}},
        {"HtmlTagFilter": {}},
        {"AlphabetRatioFilter": {"threshold": share["letters"]}},
        {"CharacterScoreFilter": {"scripts": [SCRIPTS.get(code, "Latin") for code in languages],
                                  "thresholds": [share["script"]] * 2}},
    ]  # fmt: skip
    if language:
        found.append({"LangidFilter": {"languages": languages, "langid_languages": languages}})
    return found


def memory(folder: Path, args: argparse.Namespace) -> dict[int, float]:
    """Pairs -> peak MB of Lander."""
    found = {}
    for size in args.sizes:
        write_text(folder, args, size)
        found[size] = lander(folder, args, True).peak / 1e6
    return found


def costs(folder: Path, args: argparse.Namespace) -> dict[str, list[Cost]]:
    """System -> its cost in each round, the systems taking turns."""
    systems = {"lander": lander}
    if args.opusfilter:
        systems["opusfilter"] = opusfilter
    found: dict[str, list[Cost]] = {}
    write_text(folder, args, args.pairs)
    for _ in range(args.rounds):
        for name, system in systems.items():
            for language in (True, False):
                row = name if language else f"{name}, no language"
                found.setdefault(row, []).append(system(folder, args, language))
    return found


def parse_args() -> argparse.Namespace:
    """The flags of the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.clean", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--text", type=Path, help="folder of line-aligned files; without it the corpus cldr")
    add("--languages", nargs=2, default=["de", "en"])
    add("--pairs", type=int, default=60_000)
    add("--sizes", type=int, nargs="+", default=[100_000, 1_000_000], help="pairs, for the memory")
    add("--rounds", type=int, default=3)
    add("--jobs", type=int, default=1, help="processes of OpusFilter")
    found = shutil.which("opusfilter", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    add("--opusfilter", default=found, help="its program; without it there is no comparison")
    return parser.parse_args()


def faster(found: dict[str, list[Cost]], suffix: str, by_cpu: bool) -> float:
    """The median over rounds of Lander's pairs a second to OpusFilter's."""
    both = zip(found[f"opusfilter{suffix}"], found[f"lander{suffix}"], strict=True)
    return statistics.median(a.cpu / b.cpu if by_cpu else a.wall / b.wall for a, b in both)


def main() -> None:
    args = parse_args()
    args.text = args.text and args.text.resolve()
    with tempfile.TemporaryDirectory() as folder:
        found = costs(Path(folder), args)
        peaks = memory(Path(folder), args)
    words = f"{args.pairs:,} pairs {'-'.join(args.languages)}, {args.rounds} rounds"
    print(f"{words}, OpusFilter with {args.jobs} process(es)")
    print(f"{'system':<26}{'wall s':>9}{'CPU s':>9}{'pairs/s':>11}{'pairs/CPU s':>13}{'peak MB':>9}{'kept':>10}")
    rates = {}
    for name, rows in found.items():
        wall, cpu = (statistics.median(getattr(row, key) for row in rows) for key in ("wall", "cpu"))
        rates[name] = args.pairs / wall
        line = f"{name:<26}{wall:>9.2f}{cpu:>9.2f}{rates[name]:>11,.0f}{args.pairs / cpu:>13,.0f}"
        print(f"{line}{max(row.peak for row in rows) / 1e6:>9.0f}{rows[0].kept:>10,}")
    print("memory: " + ", ".join(f"{size:,} pairs {peak:,.0f} MB" for size, peak in peaks.items()))
    record = {"benchmark": "clean", "machine": platform.machine(), "pairs_per_s": rates["lander"], "peaks_mb": peaks}
    if not args.opusfilter:
        print("opusfilter was not found and is left out: pip install -e .[bench], or --opusfilter", file=sys.stderr)
    else:
        record["vs_opusfilter"] = faster(found, "", args.jobs > 1)
        record["vs_opusfilter_no_language"] = faster(found, ", no language", args.jobs > 1)
    if len(peaks) > 1:
        (small, low), *_, (large, high) = peaks.items()
        record["mb_per_million"] = (high - low) / (large - small) * 1e6
    print(json.dumps({**record, "rates": rates}))


if __name__ == "__main__":
    main()
