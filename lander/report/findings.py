"""What people ask of a run, each question in a sentence: layers, neurons, data, outputs in another language."""

import pandas as pd

from lander.evaluate.collect import MEANS
from lander.report.cautions import foreign_masks
from lander.report.figures import SHARED, chosen_layers, distinct
from lander.report.inputs import Inputs
from lander.report.order import method_key, run_label, sort_directions
from lander.report.tables import Cell, Head, Table

OFF = 0.01  # share of outputs in another language below which a method is not named
FEW = 0.1  # share of outputs long enough to tell their language below which nothing is said of a direction


def findings(inputs: Inputs) -> list[tuple[str, str, str]]:
    """(question, answer, place in the page)."""
    found = [
        ("Layers chosen, and why", _layers(inputs), "delta"),
        ("Neurons each language owns", _neurons(inputs), "owners"),
        ("Masks of landermt", foreign_masks(inputs), "provenance"),
        ("What was dropped from the data", _data(inputs), "data"),
        ("Output in another language", _off_target(inputs), "scores-section"),
    ]
    return [(question, answer, place) for question, answer, place in found if answer]


def _layers(inputs: Inputs) -> str:
    if inputs.layers is None:
        return ""
    chosen = chosen_layers(inputs.layers)
    same = len({tuple(layers) for layers in chosen.values()}) == 1
    names = [next(iter(chosen))] if same else sort_directions(chosen)
    listed = [", ".join(map(str, chosen[name])) or "none" for name in names]
    if not same:
        listed = [f"{name}: {text}" for name, text in zip(names, listed, strict=True)]
    text = "; ".join(listed) + (", for every direction" if same and len(chosen) > 1 else "")
    text += f" (of {inputs.layers['layer'].nunique()}, counted from 0)"
    mean = inputs.layers.groupby("layer")["delta"].mean().dropna().sort_values(ascending=False, kind="stable")
    if mean.empty:
        return text
    largest = ", ".join(f"{layer} ({value:.3g})" for layer, value in mean.head(max(1, len(chosen[names[0]]))).items())
    return f"{text}: there the activation changes most from layer to layer; mean D is largest at {largest}"


def _neurons(inputs: Inputs) -> str:
    if inputs.neurons is None:
        return ""
    owned = owners(inputs.neurons)
    names = [inputs.language(name) for name in owned.index]
    listed = [f"{name} {n:,}" for name, n in zip(names, owned["neurons"], strict=True)]
    every = distinct(inputs.neurons)
    text = f"{', '.join(listed) or 'none'} (of {len(every):,})"
    inside = int(every["selected"].sum())
    if not listed or not 0 < inside < len(every):
        return text
    there = [f"{name} {number:,}" for name, number in owned["chosen"].items()]
    return f"{text}; in the chosen layers {', '.join(there)} (of {inside:,})"


def owners(neurons: pd.DataFrame) -> pd.DataFrame:
    """How many specific neurons each language owns, in all layers and in the chosen ones, most first."""
    specific = neurons[neurons["kind"] == "specific"]
    groups = specific.groupby("language")["selected"]
    table = pd.DataFrame({"neurons": groups.size(), "chosen": groups.sum().astype(int)})
    return table.sort_values("neurons", ascending=False, kind="stable")


def owners_table(inputs: Inputs) -> Table | None:
    """Specific neurons of each language: their number, in the chosen layers, and their share of all specific ones."""
    if inputs.neurons is None:
        return None
    owned = owners(inputs.neurons)
    specific = distinct(inputs.neurons[inputs.neurons["kind"] == "specific"])
    total, chosen = len(specific), int(specific["selected"].sum())
    if not total:
        return None
    rows = [
        (inputs.language(str(name)), [Cell(f"{row.neurons:,}"), Cell(f"{row.chosen:,}"), _percent(row.neurons / total)])
        for name, row in zip(owned.index, owned.itertuples(), strict=True)
    ]
    rows.append(("all", [Cell(f"{total:,}"), Cell(f"{chosen:,}"), _percent(1)]))
    heads = [Head(text) for text in ("in all layers", "in the chosen layers", "share of specific")]
    notes = [SHARED] if owned["neurons"].sum() > total else []
    return Table("Specific neurons by owner", "language", heads, rows, notes=notes, total=True)


def _percent(share: float) -> Cell:
    return Cell(f"{100 * share:.1f}%")


def _data(inputs: Inputs) -> str:
    if inputs.counts is None:
        return ""
    sums = inputs.counts.groupby("reason")["pairs"].sum()
    dropped = sums.drop(["read", "kept"], errors="ignore").sort_values(ascending=False, kind="stable")
    reasons = ", ".join(f"{name.replace('_', ' ')} {number:,}" for name, number in dropped[dropped > 0].items())
    return f"{sums.get('kept', 0):,} of {sums.get('read', 0):,} pairs kept; dropped: {reasons or 'none'}"


def _off_target(inputs: Inputs) -> str:
    """Each method's worst directions, of the outputs long enough to tell; those below `OFF` everywhere stand together.

    Where fewer than `FEW` of the outputs can be told, nothing is said of them: most are empty or too short.
    """
    shares = _language_shares(inputs.scores)
    if shares.empty:
        return ""
    several = shares.index.unique("test").size > 1
    texts, clean, untold = [], [], []
    for run in sorted({key[:2] for key in shares.index}, key=method_key):
        told = shares.loc[run][shares.loc[run]["told"] >= FEW]
        if told.empty:
            untold.append(run_label(run))
            continue
        short = len(shares.loc[run]) - len(told)
        label = run_label(run) + (f" (not told in {short} of {len(shares.loc[run])})" if short else "")
        off = (told["off_target"] / told["told"]).sort_values(ascending=False, kind="stable")
        worst = off[off > OFF]
        if worst.empty:
            clean.append(label)
            continue
        places = [
            f"{100 * share:.1f}% in {direction}" + (f" ({test})" if several else "")
            for (test, direction), share in worst.head(2).items()
        ]
        more = f" and {len(worst) - 2} more" if len(worst) > 2 else ""
        texts.append(f"{label} {', '.join(places)}{more}")
    if clean:
        limit = f"at most {100 * OFF:.0f}% in every direction"
        texts.append(f"{limit}: {', '.join(clean) if texts or untold else 'all methods'}")
    parts = [_of_told(shares["told"]) + "; ".join(texts)] if texts else []
    if untold:
        few = f"not told, fewer than {100 * FEW:.0f}% of the outputs are long enough"
        parts.append(f"{few}: {', '.join(untold) if texts else 'all methods'}")
    return "; ".join(parts)


def _language_shares(scores: pd.DataFrame) -> pd.DataFrame:
    """By method, variant, test and direction: the shares of all outputs that are `off_target`, and `told` at all."""
    rows = scores[scores["metric"].isin(["off_target", "language_unknown"]) & ~scores["direction"].isin(MEANS)]
    keys = ["method", "variant", "test", "direction"]
    shares = (
        rows.groupby([*keys, "metric"])["score"].mean().unstack().reindex(columns=["off_target", "language_unknown"])
    )
    shares["told"] = 1 - shares["language_unknown"].fillna(0)
    return shares.dropna(subset="off_target")


def _of_told(told: pd.Series) -> str:
    """Of which outputs the shares are: those long enough, as a range over methods and directions."""
    ends = sorted({f"{100 * end:.0f}" for end in (told[told >= FEW].min(), told.max())}, key=int)
    return "" if ends == ["100"] else f"of the {'–'.join(ends)}% of outputs that are long enough to tell: "
