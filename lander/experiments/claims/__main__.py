"""Each claim that the paper makes in prose, as a statistic with a verdict. The rules: `lander.experiments.claims`.

Reads:  <run>/layers/<variant>/s<seed>/layers.parquet, <run>/activations/s<seed>/<direction>.parquet,
        <run>/awareness/s<seed>/<language>.parquet, <run>/neurons/<variant>/s<seed>/neurons.parquet, and CSV tables of
        experiments; what is not given is "not testable here"
Writes: claims.csv   claim, where, statistic, value, control, p, verdict, rule
        claims.md    the same as tables, by section

Example:
    python -m lander.experiments.claims --layers layers.parquet --awareness en.parquet de.parquet --languages en de \\
        --neurons neurons.parquet --transfer transfer.csv --out results/demo/experiments
"""

import argparse
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from lander.detect.neurons import read_awareness
from lander.experiments.claims import activations, awareness, scores
from lander.experiments.claims.document import document
from lander.experiments.claims.judge import Verdict
from lander.experiments.samples import METRICS
from lander.report.document import write
from lander.shared import tables
from lander.shared.errors import UserError, run_main

PAPER_K, PAPER_EPSILON = 4, 0.9


def about_activations(args: argparse.Namespace) -> list[Verdict]:
    """Claims of section 5.2, from the layers table and, where they are given, the activations."""
    table = tables.read(args.layers, "layers")
    curves, deltas = (
        table.pivot(index="direction", columns="layer", values=value) for value in ("activation", "delta")
    )
    names = curves.index.tolist()
    vectors = None
    if args.activations:
        if sorted(args.directions or []) != names or len(args.activations) != len(names):
            raise UserError(f"--activations, --directions: one table for each of {', '.join(names)}")
        means = {
            name: tables.by_layer(tables.read(path, "activations"), "mean").ravel()
            for name, path in zip(args.directions, args.activations, strict=True)
        }
        vectors = np.stack([means[name] for name in names])
    return activations.claims(names, curves.to_numpy(), deltas.to_numpy(dtype=float), vectors, args.seed)


def about_awareness(args: argparse.Namespace) -> list[Verdict]:
    """Claims of sections 5.3 and 5.4, from the awareness of all languages and the classes of the neurons."""
    if len(args.awareness) != len(args.languages):
        raise UserError(f"--awareness, --languages: {len(args.awareness)} tables, {len(args.languages)} codes")
    phi = read_awareness(args.awareness, "none")
    table = tables.read(args.neurons, "neurons")
    if table.duplicated(["layer", "neuron"]).any():
        raise UserError(f"{args.neurons}: neurons with several owners; the claims are about one (--rule variance)")
    if len(table) != phi[0].size:
        raise UserError(f"{args.neurons}: {len(table)} neurons, the awareness tables have {phi[0].size}: another model")
    numbers = {code: number for number, code in enumerate(args.languages)}
    owner = tables.by_layer(table.assign(owner=table["language"].map(numbers).fillna(-1).astype(int)), "owner")
    general = tables.by_layer(table.assign(general=table["kind"] == "general"), "general")
    return awareness.claims(args.languages, phi, owner, general.astype(bool), args.seed)


def about_scores(args: argparse.Namespace) -> list[Verdict]:
    """Claims about what training does, from the CSV tables of experiments."""
    transfer = read_experiment(args.transfer, {"mean": "change"}, ["method", "trained", "tested", "change"], args)
    if transfer is not None:
        transfer = only(transfer, "method", args.method, args.transfer)
    table = read_experiment(args.scores, {}, ["method", "variant", "seed", "direction", "score"], args)
    if table is not None:
        kept = table["variant"].str.fullmatch(r"main|draw\d+") & ~table["direction"].str.startswith("mean")
        table = table[kept]
    k = read_experiment(args.sweep_k, {"value": "k", "mean": "score"}, ["k", "score"], args)
    epsilon = read_experiment(args.sweep_epsilon, {"value": "epsilon", "mean": "score"}, ["epsilon", "score"], args)
    clusters = read_csv(args.clusters, ["layer", "group", "score", "value", "control_mean", "p"])
    return [
        *scores.transfer_claims(transfer, args.seed),
        *scores.method_claims(table, args.seed),
        *scores.peak_claims(k, "k", "A.3, figure 10", PAPER_K),
        *scores.peak_claims(epsilon, "epsilon", "A.4, figure 11", PAPER_EPSILON),
        *scores.cluster_claims(clusters),
    ]


def read_experiment(
    path: Path | None, names: dict[str, str], columns: list[str], args: argparse.Namespace
) -> pd.DataFrame | None:
    """A CSV of `lander.experiments`, or one with just `columns`: rows of one metric and one test set.

    Args:
        names: column in an experiment's CSV -> name here.
    """
    table = read_csv(path, [])
    if table is None:
        return None
    if "mean" in table:
        table = table.rename(columns=names)
    if "metric" in table:
        table = only(table, "metric", args.metric, path)
    if "test" in table:
        table = only(table, "test", args.test or Counter(table["test"].dropna()).most_common(1)[0][0], path)
    if missing := [name for name in columns if name not in table]:
        raise UserError(f"{path}: no column {', '.join(missing)}; it needs {', '.join(columns)}")
    return table


def read_csv(path: Path | None, columns: list[str]) -> pd.DataFrame | None:
    """A CSV table with at least these columns; None where no path is given.

    Raises:
        UserError: no such file, or a column is missing.
    """
    if path is None:
        return None
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as CSV ({error})") from None
    missing = [name for name in columns if name not in table]
    if missing:
        raise UserError(f"{path}: no column {', '.join(missing)}; it needs {', '.join(columns)}")
    return table


def only(table: pd.DataFrame, column: str, value: str, path: Path) -> pd.DataFrame:
    """The rows with a value in a column.

    Raises:
        UserError: there are none.
    """
    rows = table[table[column] == value]
    if rows.empty:
        there = ", ".join(map(str, table[column].unique()))
        raise UserError(f"{path}: no row with {column} {value}; there are: {there or 'no rows'}")
    return rows


def parse_args() -> argparse.Namespace:
    """The flags of the command line."""
    parser = argparse.ArgumentParser(prog="lander.experiments.claims", description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=Path, required=True, help="the layers table")
    parser.add_argument("--activations", type=Path, nargs="+", help="one table per direction")
    parser.add_argument("--directions", nargs="+", help="their directions, in the same order")
    parser.add_argument("--awareness", type=Path, nargs="+", required=True, help="one table per language")
    parser.add_argument("--languages", nargs="+", required=True, help="their codes, in the same order")
    parser.add_argument("--neurons", type=Path, required=True, help="the neurons table")
    parser.add_argument(
        "--transfer", type=Path, help="CSV of the experiment transfer, or: method, trained, tested, change"
    )
    parser.add_argument("--method", default="landermt", help="the method in --transfer (default: landermt)")
    parser.add_argument("--scores", type=Path, help="scores.csv of the run")
    parser.add_argument("--metric", choices=METRICS, default="bleu", help="in these tables (default: bleu)")
    parser.add_argument("--test", help="test set in these tables (default: the one with most rows)")
    parser.add_argument("--sweep-k", type=Path, help="CSV of the experiment sweep_k, or: k, score")
    parser.add_argument("--sweep-epsilon", type=Path, help="CSV of the experiment sweep_epsilon, or: epsilon, score")
    parser.add_argument("--clusters", type=Path, help="clusters.csv of lander.experiments.clusters")
    parser.add_argument("--seed", type=int, default=0, help="of the permutations")
    parser.add_argument("--out", type=Path, required=True, help="folder for claims.csv and claims.md")
    return parser.parse_args()


def main() -> None:
    """Judge all claims, write the tables."""
    args = parse_args()
    found = [*about_activations(args), *about_awareness(args), *about_scores(args)]
    write(document(found, pd.DataFrame(map(asdict, found))), args.out)


if __name__ == "__main__":
    run_main(main, "analyses.claims")
