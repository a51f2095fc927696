"""Check a finished demo run: every method in all ten directions, a report, and a landermt that has learned.

python .ci/scores.py results/demo
"""

import csv
import sys
from pathlib import Path

METHODS = {
    ("zero-shot", "main"),
    ("zero-shot", "best-prompt"),
    ("full", "main"),
    ("lora", "main"),
    ("landermt", "main"),
}
OTHERS = ("de", "it", "fr", "ar", "zh")
DIRECTIONS = {f"en-{code}" for code in OTHERS} | {f"{code}-en" for code in OTHERS}
SIDES = {"mean-out-of-en": "out of English", "mean-into-en": "into English"}
GAIN = 10  # BLEU that landermt is at least above the better zero-shot prompt, on either side


def main() -> None:
    """Exit with a message unless all of it holds."""
    run = Path(sys.argv[1])
    with open(run / "evaluate" / "scores.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    unsigned = [row for row in rows if not row["signature"]]
    if unsigned:
        sys.exit(f"scores.csv: a score without a signature: {unsigned[0]}")
    bleu = {
        (row["method"], row["variant"], row["direction"]): float(row["score"])
        for row in rows
        if row["metric"] == "bleu"
    }
    missing = sorted({(*method, name) for method in METHODS for name in [*DIRECTIONS, *SIDES]} - set(bleu))
    if missing:
        sys.exit(f"scores.csv: no BLEU of {missing[0]} and {len(missing) - 1} others")
    for mean, side in SIDES.items():
        base = max(bleu["zero-shot", variant, mean] for variant in ("main", "best-prompt"))
        landermt = bleu["landermt", "main", mean]
        print(f"mean BLEU {side}: landermt {landermt:.1f}, better zero-shot prompt {base:.1f}")
        if landermt < base + GAIN:
            sys.exit(f"{side} landermt is {landermt - base:.1f} BLEU above the better zero-shot prompt, not {GAIN}")
    page = run / "report" / "index.html"
    if not page.is_file() or "landermt" not in page.read_text(encoding="utf-8"):
        sys.exit(f"{page}: missing, or without a word of landermt")


if __name__ == "__main__":
    main()
