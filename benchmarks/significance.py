"""What the paired tests cost: all methods and directions of the paper's experiment, and beside sacreBLEU's PairedTest.

    python -m benchmarks.significance            # one direction of few sentences, and what it comes to at full size
    python -m benchmarks.significance --full     # 10 methods, 10 directions, 3,000 sentences, five baselines

Bound: scoring and testing at full size in 3 minutes on two cores, that is 360 seconds of CPU. Scoring (sacreBLEU's
statistics, flags, languages) runs once per model and grows with the sentences; testing grows with the sentences and,
less, with the comparisons. Seconds are of CPU time, of one thread: the machine may be busy.

The text is synthetic: German words and pairs of them, 17 to a sentence of some 150 characters, in no order.
"""

import argparse
import json
import os
import platform
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

BOUND, CORES = 180, 2
METHODS, DIRECTIONS, SENTENCES, BASELINES = 10, 10, 3000, 5
WORDS = (
    "der die das und nicht mit von auf ist ein eine Haus Regierung Wasser Jahr Menschen Arbeit Stadt heute wird "
    "haben sagte neue große Entscheidung zwischen während Europa wichtig Frage nach über unter Forschung möglich"
)
RESAMPLES = 14_000  # what `lander.evaluate.significance` takes for 350 comparisons


def corpus(sentences: int, methods: int) -> tuple[list[str], list[list[str]]]:
    """References, and outputs that differ from them in some words."""
    draw = random.Random(0)
    words = WORDS.split()
    words += [draw.choice(words) + draw.choice(words).lower() for _ in range(2000)]
    references = [" ".join(draw.choices(words, k=draw.randint(9, 25))) + "." for _ in range(sentences)]
    outputs = []
    for method in range(methods):
        kept = 0.5 + 0.02 * method
        outputs.append(
            [" ".join(w if draw.random() < kept else draw.choice(words) for w in r.split()) for r in references]
        )
    return references, outputs


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of a piece of work."""
    began = time.process_time()
    work()
    return time.process_time() - began


def write_translations(folder: Path, references: list[str], outputs: list[list[str]], directions: list[str]) -> None:
    for method, texts in enumerate(outputs):
        for direction in directions:
            path = folder / f"m{method}" / "t" / f"{direction}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = (
                {"source": "?", "reference": r, "raw": o, "hypothesis": o}
                for r, o in zip(references, texts, strict=True)
            )
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def paired_tests(references: list[str], outputs: list[list[str]], resamples: int) -> None:
    """The same intervals and tests of all systems against the first, by sacreBLEU."""
    from sacrebleu.metrics import BLEU, CHRF
    from sacrebleu.significance import PairedTest

    systems = [(f"m{place}", texts) for place, texts in enumerate(outputs)]
    for kind in ("bs", "ar"):
        PairedTest(systems, {"bleu": BLEU(force=True), "chrf": CHRF(word_order=2)}, [references], kind, resamples)()


def measure(methods: int, directions: int, sentences: int, baselines: int, resamples: int) -> dict[str, float]:
    """CPU seconds of scoring and of testing, through the command line's own functions."""
    from lander.evaluate import significance
    from lander.evaluate.__main__ import score_all

    names = [f"en-{code}" for code in ("de", "it", "fr", "es", "nl", "pt", "sv", "da", "ro", "cs")][:directions]
    references, outputs = corpus(sentences, methods)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_translations(folder, references, outputs, names)

        def score() -> None:
            for place in range(methods):
                run = {"method": f"m{place}", "variant": "main", "seed": "0"}
                score_all(folder / f"m{place}", {"t": names}, None, run, folder / "scores" / f"m{place}")

        scoring = seconds(score)
        files = sorted(folder.glob("scores/*/t/*.segments.parquet"))
        against = [f"m{place}" for place in range(baselines)]
        testing = seconds(lambda: significance.table(files, against, resamples))
    return {"scoring": scoring, "testing": testing}


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.significance", description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="the full size instead of a sample of it (minutes)")
    parser.add_argument("--methods", type=int, default=4)
    parser.add_argument("--sentences", type=int, default=300)
    args = parser.parse_args()
    measure(1, 1, 20, 1, 100)  # imports and the model of the language identifier do not count
    if args.full:
        found = measure(METHODS, DIRECTIONS, SENTENCES, BASELINES, RESAMPLES)
        full = found
    else:
        found = measure(args.methods, 1, args.sentences, 1, 1000)
        share = args.methods * args.sentences / (METHODS * DIRECTIONS * SENTENCES)
        testing = seconds_of_tests(args.sentences)
        full = {"scoring": found["scoring"] / share, "testing": testing}
    references, outputs = corpus(args.sentences, 3)
    theirs = seconds(lambda: paired_tests(references, outputs, 1000))
    ours = measure(3, 1, args.sentences, 1, 1000)
    report(args.full, found, full, theirs, sum(ours.values()), args.sentences)


def seconds_of_tests(sentences: int) -> float:
    """CPU seconds of testing one direction with all methods, times the directions, to the full number of sentences."""
    found = measure(METHODS, 1, sentences, BASELINES, RESAMPLES)["testing"]
    less = measure(METHODS, 1, sentences // 2, BASELINES, RESAMPLES)["testing"]
    per_sentence = max(found - less, 0) / (sentences - sentences // 2)
    return DIRECTIONS * (found + per_sentence * (SENTENCES - sentences))


def report(measured: bool, found: dict, full: dict, theirs: float, ours: float, sentences: int) -> None:
    total = sum(full.values())
    print(f"{METHODS} methods x {DIRECTIONS} directions x {SENTENCES} sentences, {BASELINES} baselines")
    print(f"{'':<12}{'CPU s':>9}{'on two cores':>14}   {'measured' if measured else 'reckoned from a sample'}")
    for name, value in (*full.items(), ("both", total)):
        print(f"{name:<12}{value:>9.1f}{value / CORES:>14.1f}")
    print(f"bound {'':<6}{BOUND * CORES:>9}{BOUND:>14}   {'kept' if total <= BOUND * CORES else 'MISSED'}")
    print(
        f"side by side, 3 systems, {sentences} sentences, 1,000 resamples: PairedTest {theirs:.1f} s, here {ours:.1f} s"
    )
    result = {"sample": found, "full": full, "bound": BOUND * CORES, "paired_test": theirs, "same_here": ours}
    print(json.dumps({"benchmark": "significance", "machine": platform.machine(), "measured": measured, **result}))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
