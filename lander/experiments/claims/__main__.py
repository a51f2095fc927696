"""Each claim that the paper makes in prose, as a statistic with a verdict.

`claims.yaml` has the claims and the rules by which they are judged. A rule is fixed before any data is seen, and is
printed beside the verdict:

    supported       the statistic is on the claimed side, and a permutation test gives p <= 0.05
    not supported   it is not, or chance does as well
    not testable here   the table for it was not given, or there are too few layers, languages, directions, seeds or
                        draws for any outcome to pass

Reads:  <run>/layers/<variant>/s<seed>/layers.parquet, <run>/activations/s<seed>/<direction>.parquet,
        <run>/awareness/s<seed>/<language>.parquet, <run>/neurons/<variant>/s<seed>/neurons.parquet, and CSV tables of
        experiments
Writes: claims.csv             claim, where, statistic, value, control, p, verdict, rule
        claims.json and .md    the same as tables, by section

Example:
    python -m lander.experiments.claims --layers layers.parquet --awareness en.parquet de.parquet --languages en de \\
        --neurons neurons.parquet --transfer transfer.csv --out results/demo/experiments
"""

import argparse
from collections import Counter
from pathlib import Path

import pandas as pd

from lander.experiments.claims import judge, statistics
from lander.experiments.claims.judge import Found, Result
from lander.experiments.samples import MAIN, METRICS, read_all_scores
from lander.report.document import Document, numbers, write
from lander.report.tables import MISSING, Table
from lander.shared import tables
from lander.shared.csvfile import read_csv
from lander.shared.errors import UserError, run_main


def about_activations(args: argparse.Namespace) -> Found:
    """Claims of section 5.2, from the layers table and, if they are given, the activations."""
    table = tables.read(args.layers, "layers", ["direction", "layer", "activation", "delta"])
    curves, deltas = (
        table.pivot(index="direction", columns="layer", values=value) for value in ("activation", "delta")
    )
    names = curves.index.tolist()
    vectors = None
    if args.activations:
        if sorted(args.directions or []) != names or len(args.activations) != len(names):
            raise UserError(f"--activations, --directions: one table for each of {', '.join(names)}")
        files = dict(zip(args.directions, args.activations, strict=True))
        vectors = tables.stacked([files[name] for name in names], "activations", "mean").reshape(len(names), -1)
    return statistics.activation_claims(names, curves.to_numpy(), deltas.to_numpy(dtype=float), vectors, args.seed)


def about_awareness(args: argparse.Namespace) -> Found:
    """Claims of sections 5.3 and 5.4, from the awareness of all languages and the classes of the neurons."""
    if len(args.awareness) != len(args.languages):
        raise UserError(f"--awareness, --languages: {len(args.awareness)} tables, {len(args.languages)} codes")
    phi = tables.stacked(args.awareness, "awareness", "score")
    table = tables.read(args.neurons, "neurons", ["layer", "neuron", "kind", "language"])
    if table.duplicated(["layer", "neuron"]).any():
        raise UserError(f"{args.neurons}: neurons with several owners; the claims are about one (--rule variance)")
    if len(table) != phi[0].size:
        raise UserError(f"{args.neurons}: {len(table)} neurons, the awareness tables have {phi[0].size}: another model")
    places = {code: place for place, code in enumerate(args.languages)}
    owner = tables.by_layer(table.assign(owner=table["language"].map(places).fillna(-1).astype(int)), "owner")
    general = tables.by_layer(table.assign(general=table["kind"] == "general"), "general")
    return statistics.awareness_claims(args.languages, phi, owner, general.astype(bool), args.seed)


def about_scores(args: argparse.Namespace) -> Found:
    """Claims about what training does, from the tables of experiments that are given."""
    found: Found = []
    if args.transfer:
        table = read(args, args.transfer, ["method", "trained", "tested", "change"], mean="change")
        found += statistics.transfer_claims(only(table, "method", args.method, args.transfer), args.seed)
    if args.scores:
        table, _ = read_all_scores(args.scores)
        table = of_one_test(args, table.sort_values("test", kind="stable"), args.scores[0])
        found += statistics.method_claims(table[table["variant"].isin([MAIN, *args.draws])], args.seed)
    for key, path in {"k": args.sweep_k, "epsilon": args.sweep_epsilon}.items():
        if path:
            found += statistics.peak_claims(read(args, path, [key, "score"], value=key, mean="score"), key)
    if args.clusters:
        columns = ["layer", "group", "score", "value", "control_mean", "p"]
        found += statistics.cluster_claims(read(args, args.clusters, columns))
    return found


def read(args: argparse.Namespace, path: Path, columns: list[str], **names: str) -> pd.DataFrame:
    """A CSV of an experiment (whose columns have other `names`), or one with just `columns`: rows of one test set."""
    table = read_csv(path, [], dtype=None, keep_default_na=True)
    if "mean" in table:
        table = table.rename(columns=names)
    table = of_one_test(args, table, path)
    if missing := [name for name in columns if name not in table]:
        raise UserError(f"{path}: no column {', '.join(missing)}; it needs {', '.join(columns)}")
    return table


def of_one_test(args: argparse.Namespace, table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The rows of one metric and one test set, if the table has several."""
    if "metric" in table:
        table = only(table, "metric", args.metric, path)
    if "test" in table:
        table = only(table, "test", args.test or Counter(table["test"].dropna()).most_common(1)[0][0], path)
    return table


def only(table: pd.DataFrame, column: str, value: str, path: Path) -> pd.DataFrame:
    """The rows with a value in a column; UserError if there are none."""
    rows = table[table[column] == value]
    if rows.empty:
        there = ", ".join(map(str, table[column].unique()))
        raise UserError(f"{path}: no row with {column} {value}; there are: {there or 'no rows'}")
    return rows


def rows_of(found: Found) -> pd.DataFrame:
    """The results, then the claims that have none."""
    keys = {key for key, _ in found}
    untested = [key for key, claim in judge.CLAIMS.items() if key not in keys and not claim.get("optional")]
    rows = []
    for key, result in [*found, *((key, Result()) for key in untested)]:
        claim = judge.CLAIMS[key]
        statistic, rule = claim["statistic"].format(note=result.note), judge.RULES[claim["rule"]]
        rows.append((claim["claim"] + result.of, claim["where"], statistic, *result[:4], rule.format(**judge.LIMITS)))
    return pd.DataFrame(rows, columns=["claim", "where", "statistic", "value", "control", "p", "verdict", "rule"])


def document(rows: pd.DataFrame) -> Document:
    """A table for each section of the paper."""
    counts = Counter(rows["verdict"])
    tally = ", ".join(f"{counts[name]} {name}" for name in (judge.SUPPORTED, judge.NOT_SUPPORTED, judge.NOT_TESTABLE))
    blocks: list[Table | str] = [
        "Each claim is a statistic with a rule that says when it is supported. Control: what the value is compared "
        f"with. {MISSING}: none. A claim is {judge.NOT_TESTABLE} if its tables were not made, or if no outcome could "
        "have passed (too few layers, languages, directions, seeds or draws)."
    ]
    sections = dict(list(rows.groupby(rows["where"].str.partition(",")[0])))
    for name in sorted(sections, key=lambda name: (name == "-", name)):  # 5.2, A.3, then what is not in the paper
        blocks.append(_table(name, sections[name]))
    return Document("claims", f"Claims of the paper: {tally}", blocks, numbers(rows))


def _table(section: str, rows: pd.DataFrame) -> Table:
    """Claim x figure, statistic, value, control, p, verdict; the rules below, that of most claims last."""

    def text(number: float, digits: int = 4) -> str:
        return MISSING if pd.isna(number) else f"{number:.{digits}g}"

    shown, claims = [], {}
    for row in rows.itertuples():
        claims.setdefault(row.rule, []).append(row.claim)
        place = row.where.partition(", ")[2] or MISSING
        texts = [text(row.value), text(row.control), text(row.p, 2)]
        shown.append((row.claim, [place, row.statistic, *texts, row.verdict]))
    *others, (most, _) = sorted(claims.items(), key=lambda item: len(item[1]))
    notes = [f"Rule of {'; '.join(names)}: {rule}." for rule, names in others]
    notes.append(f"Rule{' of all others' if others else ''}: {most}.")
    titles = ["figure or table", "statistic", "value", "control", "p", "verdict"]
    caption = "Not in the paper" if section == "-" else f"{'Appendix' if section[0] == 'A' else 'Section'} {section}"
    return Table.of(caption, "claim", titles, shown, notes=notes, wide=True)


def main() -> None:
    """Judge all claims, write the tables."""
    parser = argparse.ArgumentParser(prog="lander.experiments.claims", description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=Path, required=True, help="the layers table")
    parser.add_argument("--activations", type=Path, nargs="+", help="one table per direction")
    parser.add_argument("--directions", nargs="+", help="their directions, in the same order")
    parser.add_argument("--awareness", type=Path, nargs="+", required=True, help="one table per language")
    parser.add_argument("--languages", nargs="+", required=True, help="their codes, in the same order")
    parser.add_argument("--neurons", type=Path, required=True, help="the neurons table")
    parser.add_argument("--transfer", type=Path, help="CSV of transfer, or: method, trained, tested, change")
    parser.add_argument("--method", default="landermt", help="the method in --transfer (default: landermt)")
    parser.add_argument("--scores", type=Path, nargs="*", default=[], help="score files of tables 1 and 2")
    parser.add_argument("--draws", nargs="*", default=[], help="variants in --scores that are draws of a control")
    parser.add_argument("--metric", choices=METRICS, default="bleu", help="in these tables (default: bleu)")
    parser.add_argument("--test", help="test set in these tables (default: the one with most rows)")
    parser.add_argument("--sweep-k", type=Path, help="CSV of sweep_k, or: k, score")
    parser.add_argument("--sweep-epsilon", type=Path, help="CSV of sweep_epsilon, or: epsilon, score")
    parser.add_argument("--clusters", type=Path, help="clusters.csv of lander.experiments.clusters")
    parser.add_argument("--seed", type=int, default=0, help="of the permutations")
    parser.add_argument("--out", type=Path, required=True, help="folder for claims.csv, .json and .md")
    args = parser.parse_args()
    write(document(rows_of([*about_activations(args), *about_awareness(args), *about_scores(args)])), args.out)


if __name__ == "__main__":
    run_main(main, "experiments.claims")
