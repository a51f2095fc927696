"""The verdicts as a document: a table for each section of the paper."""

from collections import Counter

import pandas as pd

from lander.experiments.claims.judge import NOT_SUPPORTED, NOT_TESTABLE, SUPPORTED, Verdict
from lander.report.document import Document, heads, numbers
from lander.report.tables import MISSING, Cell, Table

OTHER = "Not in the paper"


def document(found: list[Verdict], data: pd.DataFrame) -> Document:
    """claims.csv and claims.md.

    Args:
        data: the same verdicts, a row each.
    """
    counts = Counter(row.verdict for row in found)
    tally = ", ".join(f"{counts[name]} {name}" for name in (SUPPORTED, NOT_SUPPORTED, NOT_TESTABLE))
    sections: dict[str, list[Verdict]] = {}
    for row in found:
        sections.setdefault(section_of(row.where), []).append(row)
    blocks: list[Table | str] = [
        "Each claim is a statistic with a rule that says when it is supported. Control: what the value is compared "
        f"with. {MISSING}: none. A claim is {NOT_TESTABLE} where its tables were not made, or where no "
        "outcome could have passed (too few layers, languages, directions, seeds or draws)."
    ]
    blocks += [_table(name, sections[name]) for name in sorted(sections, key=_order)]
    return Document("claims", f"Claims of the paper: {tally}", blocks, numbers(data))


def section_of(where: str) -> str:
    """`Section 5.2` of `5.2, figure 4`; `Appendix A.3`; what is not in the paper stands apart."""
    number = where.partition(",")[0]
    if number == "-":
        return OTHER
    return f"{'Appendix' if number.startswith('A') else 'Section'} {number}"


def _order(name: str) -> tuple[bool, bool, str]:
    return name == OTHER, name.startswith("Appendix"), name


def _table(section: str, rows: list[Verdict]) -> Table:
    """Claim x figure, statistic, value, control, p, verdict; the rules below."""
    shown = []
    for row in rows:
        figure = row.where.partition(", ")[2] or MISSING
        numbers = [*_apart(row.value, row.control), _text(row.p, 2)]
        shown.append((row.claim, [Cell(text) for text in (figure, row.statistic, *numbers, row.verdict)]))
    titles = ["figure or table", "statistic", "value", "control", "p", "verdict"]
    return Table(section, "claim", heads(titles), shown, notes=_rules(rows), wide=True)


def _rules(rows: list[Verdict]) -> list[str]:
    """When a claim is supported; the rule of most claims of the section comes last and does not name them."""
    claims: dict[str, list[str]] = {}
    for row in rows:
        claims.setdefault(row.rule, []).append(row.claim)
    *others, (most, _) = sorted(claims.items(), key=lambda item: len(item[1]))
    notes = [f"Rule of *{'*, *'.join(names)}*: {rule}." for rule, names in others]
    return [*notes, f"Rule{' of all others' if others else ''}: {most}."]


def _apart(value: float, control: float) -> tuple[str, str]:
    """Both with three digits, or with as many more as tell them apart, seven at most."""
    for digits in range(3, 8):
        texts = _text(value, digits), _text(control, digits)
        if texts[0] != texts[1]:
            break
    return texts if texts[0] != texts[1] else (_text(value, 3), _text(control, 3))


def _text(number: float, digits: int) -> str:
    return MISSING if pd.isna(number) else f"{number:.{digits}g}"
