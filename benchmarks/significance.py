"""What the paired tests cost, for all methods and directions of the paper's experiment and beside sacreBLEU.

    python -m benchmarks.significance            # one direction of few sentences, extrapolated to full size
    python -m benchmarks.significance --full     # 10 methods, 10 directions, 3,000 sentences, five baselines

Measured: scoring (sacreBLEU's statistics, flags, languages) and testing. Scoring is one job per model, so two run side
by side; testing is one job with one thread. Scoring grows with the sentences. Testing grows with the sentences and,
less, with the comparisons. Without --full, seconds are CPU time, so the machine may be busy. With --full, two
processes score and wall time counts, so the machine must be idle. Peer: sacreBLEU's PairedTest on the same outputs.

Bound, set by us: scoring and testing at full size take at most 3 minutes on two cores.

The text is synthetic: German words and pairs of them in no order, 17 to a sentence of some 150 characters. The tests
are those of a run: BLEU, chrF2++ and the loss of the references.
JSON: `measured`, `cpu`, `clock`, `bound`, `kept`, `paired_test`, `same_here`.
"""

import argparse
import json
import os
import platform
import random
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from lander.shared.runs import Model

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


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """CPU seconds of a piece of work, its processes included, and seconds of the clock."""
    began, clock = sum(os.times()[:4]), time.perf_counter()
    work()
    return sum(os.times()[:4]) - began, time.perf_counter() - clock


def write_translations(folder: Path, references: list[str], outputs: list[list[str]], directions: list[str]) -> None:
    for method, texts in enumerate(outputs):
        for direction in directions:
            path = folder / f"m{method}" / "t" / f"{direction}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = (
                {"source": "?", "reference": r, "raw": o, "hypothesis": o, "cut": False, "loss": 0.5 * len(r) + method}
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


def score_model(folder: Path, names: list[str], place: int) -> None:
    """Score one model in all directions, as a job of the workflow does."""
    from lander.evaluate.__main__ import score_all

    score_all(folder / f"m{place}", {"t": names}, None, Model(f"m{place}", "main", 0), folder / "scores" / f"m{place}")


def score_models(folder: Path, names: list[str], methods: int, processes: int) -> None:
    """Score all models; with several processes, as many at a time."""
    work = partial(score_model, folder, names)
    if processes == 1:
        for place in range(methods):
            work(place)
        return
    with ProcessPoolExecutor(processes) as pool:
        list(pool.map(work, range(methods)))


def measure(
    methods: int, directions: int, sentences: int, baselines: int, resamples: int, processes: int = 1
) -> dict[str, tuple[float, float]]:
    """Seconds (CPU, clock) of scoring and of testing, through the command line's own functions."""
    from lander.evaluate import segments, significance

    names = [f"en-{code}" for code in ("de", "it", "fr", "es", "nl", "pt", "sv", "da", "ro", "cs")][:directions]
    references, outputs = corpus(sentences, methods)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_translations(folder, references, outputs, names)
        scoring = seconds(lambda: score_models(folder, names, methods, processes))
        files = sorted(folder.glob("scores/*/t/*.segments.parquet"))
        against = [f"m{place}" for place in range(baselines)]
        testing = seconds(lambda: significance.compare(segments.read_all(files), against, resamples))
    return {"scoring": scoring, "testing": testing}


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.significance", description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="the full size instead of a sample of it (minutes)")
    parser.add_argument("--methods", type=int, default=4)
    parser.add_argument("--sentences", type=int, default=300)
    args = parser.parse_args()
    measure(1, 1, 20, 1, 100)  # imports and the model of the language identifier do not count
    if args.full:
        found = measure(METHODS, DIRECTIONS, SENTENCES, BASELINES, RESAMPLES, CORES)
        cpu = {name: value for name, (value, _) in found.items()}
        clock = {name: value for name, (_, value) in found.items()}
    else:
        share = args.methods * args.sentences / (METHODS * DIRECTIONS * SENTENCES)
        scoring = measure(args.methods, 1, args.sentences, 1, 1000)["scoring"][0]
        cpu = {"scoring": scoring / share, "testing": seconds_of_tests(args.sentences)}
        clock = {"scoring": cpu["scoring"] / CORES, "testing": cpu["testing"]}
    references, outputs = corpus(args.sentences, 3)
    theirs, _ = seconds(lambda: paired_tests(references, outputs, 1000))
    ours = sum(value for value, _ in measure(3, 1, args.sentences, 1, 1000).values())
    report(args.full, cpu, clock, theirs, ours, args.sentences)


def seconds_of_tests(sentences: int) -> float:
    """CPU seconds of testing one direction with all methods, times the directions, to the full number of sentences."""
    found, _ = measure(METHODS, 1, sentences, BASELINES, RESAMPLES)["testing"]
    less, _ = measure(METHODS, 1, sentences // 2, BASELINES, RESAMPLES)["testing"]
    per_sentence = max(found - less, 0) / (sentences - sentences // 2)
    return DIRECTIONS * (found + per_sentence * (SENTENCES - sentences))


def report(
    measured: bool, cpu: dict[str, float], clock: dict[str, float], theirs: float, ours: float, sentences: int
) -> None:
    """Print the table and the line of JSON."""
    kept = sum(clock.values()) <= BOUND
    print(f"{METHODS} methods x {DIRECTIONS} directions x {SENTENCES} sentences, {BASELINES} baselines")
    print(f"{'':<12}{'CPU s':>9}{'on two cores':>14}   {'measured' if measured else 'extrapolated from a sample'}")
    for name in cpu:
        print(f"{name:<12}{cpu[name]:>9.1f}{clock[name]:>14.1f}")
    print(f"{'both':<12}{sum(cpu.values()):>9.1f}{sum(clock.values()):>14.1f}")
    print(f"{'bound':<21}{BOUND:>14}   {'kept' if kept else 'MISSED'}")
    print(
        f"side by side, 3 systems, {sentences} sentences, 1,000 resamples: PairedTest {theirs:.1f} s, here {ours:.1f} s"
    )
    result = {"cpu": cpu, "clock": clock, "bound": BOUND, "kept": kept, "paired_test": theirs, "same_here": ours}
    print(json.dumps({"benchmark": "significance", "machine": platform.machine(), "measured": measured, **result}))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
