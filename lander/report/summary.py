"""Section "Summary": which method is best and by how much, what training cost, and what to be careful about."""

from collections.abc import Mapping

import pandas as pd
from markupsafe import Markup

from lander.config.methods import TRAINED
from lander.evaluate.collect import MEANS
from lander.report.detection import NEURON, chosen_layers, foreign_masks
from lander.report.document import listed
from lander.report.inputs import Inputs
from lander.report.labels import MEAN_LABELS, SIDES, Method, in_order, method_key, method_of, run_label, sort_directions
from lander.report.significance import SIGNIFICANT
from lander.report.tables import MISSING, Cell, Table, counted, duration, first, measured, quantity, signed, size
from lander.report.translations import visible

GLANCE = {"bleu": "BLEU", "chrf2++": "chrF2++"}
OWN = ("landermt", "main")
FLOOR = 5.0  # mean BLEU below which the order of methods says little
OFF = 0.01  # share of outputs in a wrong language above which a method is named
ONE_SEED = "One seed: the tests say whether a difference would hold for other sentences, not for another seed."
SMALL = 100  # sentences of a test set below which differences are uncertain
FEW = 0.1  # share of outputs long enough to identify their language below which a direction is not judged


def test_names(inputs: Inputs) -> list[str]:
    """Test sets in the order of the config."""
    sources = inputs.setting("data", "test")
    wanted = [one.get("name") for one in sources if isinstance(one, dict)] if isinstance(sources, list) else []
    return in_order(inputs.scores["test"], wanted)


def facts(inputs: Inputs, tests: list[str]) -> list[str]:
    """What was run, in a few words."""
    scores = inputs.scores
    counts = {
        "direction": scores.loc[~scores["direction"].isin(MEANS), "direction"].nunique(),
        "method": scores["method"].nunique(),
        "test set": len(tests),
        "seed": scores["seed"].nunique(),
    }
    base = inputs.setting("model", "path")
    return [
        *([f"base {base}"] if isinstance(base, str) else []),
        *counted(counts),
        *([inputs.date] if inputs.date else []),
    ]


def means_by_run(scores: pd.DataFrame, test: str, metric: str, direction: str = "mean") -> pd.Series:
    """Mean over seeds of the mean over directions, by (method, variant), best first."""
    rows = scores.query("test == @test and metric == @metric and direction == @direction")
    return rows.groupby(["method", "variant"])["score"].mean().sort_values(ascending=False, kind="stable")


def leaders(means: pd.Series) -> list[Method]:
    """The methods with the highest mean as it is printed, in the order of the tables. Several are tied."""
    return [run for run in sorted(means.index, key=method_key) if round(means[run], 1) == round(means.max(), 1)]


def sides(scores: pd.DataFrame, test: str) -> dict[str, str]:
    """The means by which methods are compared, and which directions each is over.

    Out of English and into English if the run has both: one mean over all directions would mix BLEU of several
    tokenizers and languages.
    """
    there = set(scores.loc[scores["test"] == test, "direction"])
    return SIDES if there.issuperset(SIDES) else {"mean": "all directions"}


def answers(inputs: Inputs, test: str) -> list[Markup]:
    """Three comparisons on a test set: the best trained method and zero-shot, then landermt and others."""
    means = {of: means_by_run(inputs.scores, test, "bleu", name) for name, of in sides(inputs.scores, test).items()}
    total = sum(means.values()).dropna().sort_values(ascending=False, kind="stable")
    trained = [run for run in total.index if run[0] in TRAINED]
    zero = [run for run in total.index if run[0] == "zero-shot"]
    own = OWN if OWN in trained else trained[0] if trained else None
    pairs = [(trained[0], zero[0])] if trained and zero else []
    pairs += [
        (own, run) for run in sorted(trained, key=lambda run: (run != trained[0], run[0] != "lora")) if run != own
    ]
    found = []
    for one, other in pairs[:3]:
        parts = []
        for name, of in sides(inputs.scores, test).items():
            outcome = inputs.significance.compare(one, other, (test, name, "bleu"))
            sure = "" if outcome is None or outcome.significant else " (not significant)"
            parts.append(f"{signed(means[of][one] - means[of][other])} {of}{sure}")
        text = Markup("<code>{}</code> against <code>{}</code>: BLEU {}.")
        found.append(text.format(*(visible(run_label(run)) for run in (one, other)), listed(parts)))
    return found


def average(inputs: Inputs, run: Method, key: str) -> float | None:
    """Mean over seeds of a number in run.json."""
    values = [content.get(key) for model, content in inputs.runs.items() if method_of(model) == run]
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    return sum(numbers) / len(numbers) if numbers else None


def glance_table(inputs: Inputs, tests: list[str]) -> Table:
    """Every method on one line: mean scores, gain over the better zero-shot, and what training cost."""
    places = [(test, metric, name) for test in tests for metric in GLANCE for name in sides(inputs.scores, test)]
    means = {place: means_by_run(inputs.scores, *place) for place in places}
    rows, columns = [], []
    for run in sorted(set().union(*(one.index for one in means.values())), key=method_key):
        cells = []  # heading -> cell
        for (test, metric, name), found in means.items():
            score = found.get(run)
            best = len(found) > 1 and run in leaders(found)
            heading = f"{GLANCE[metric]} {MEAN_LABELS[name]}".removesuffix(" all")
            cells.append(((test, heading), MISSING if score is None else Cell(f"{score:.1f}", best)))
            if metric == "bleu":
                zero = max((value for one, value in found.items() if one[0] == "zero-shot"), default=None)
                cells.append(((test, "gain"), MISSING if None in (score, zero) else signed(score - zero)))
        if inputs.runs:
            trained, total = (average(inputs, run, f"parameters_{name}") for name in ("trained", "total"))
            costs = {
                "trained": measured(trained, quantity),
                "share": f"{100 * trained / total:.3g}%" if trained is not None and total else MISSING,
                "time": measured(average(inputs, run, "seconds"), duration),
                "memory": measured(average(inputs, run, "peak_memory_bytes"), size),
                "damage": measured(average(inputs, run, "damage_at_start"), lambda nats: f"{nats:.2f}"),
            }
            cells += [(("training", heading), cell) for heading, cell in costs.items()]
        columns = [column for column, _ in cells]
        rows.append((run_label(run), [cell for _, cell in cells]))
    notes = ["Means over directions. Gain: BLEU above the better zero-shot prompt."]
    if inputs.runs:
        notes.append("Trained: parameters; share: of all parameters of the model. Memory: the peak of one process.")
        notes.append("Damage: nats per token that routing adds to the loss of the base before training.")
    return Table.of("Methods at a glance", "method", columns, rows, notes=notes)


def tests_table(inputs: Inputs, tests: list[str]) -> Table | None:
    """In how many directions each method is significantly better and worse than each baseline."""
    tested = inputs.significance
    columns = [(f"on {test}", f"against {run_label(base)}") for test in tests for base in tested.baselines]
    rows = []
    for run in sorted({run for pair in tested.tests for run in pair[:2]}, key=method_key):
        found = [tested.counted(run, base, test) for test in tests for base in tested.baselines]
        cells = [Cell(f"+{up} −{down} of {of}", value=up - down) if of else MISSING for up, down, of in found]
        rows.append((run_label(run), cells))
    notes = [f"Number of directions in which the method is better (+) and worse (−), Holm-corrected {SIGNIFICANT}."]
    return Table.of("Significant differences in BLEU", "method", columns, rows, notes=notes) if rows else None


def off_target_table(scores: pd.DataFrame) -> Table | None:
    """Output in a wrong language: each method's worst direction, by its share among the outputs that can be identified.

    A direction in which fewer than `FEW` of the outputs can be identified is not judged: most are empty or too short.
    """
    rows = scores[scores["metric"].isin(["off_target", "language_unknown"]) & ~scores["direction"].isin(MEANS)]
    shares = rows.groupby(["method", "variant", "test", "direction", "metric"])["score"].mean().unstack()
    shares = shares.reindex(columns=["off_target", "language_unknown"]).dropna(subset="off_target")
    if shares.empty:
        return None
    known = 1 - shares["language_unknown"].fillna(0)
    off = (shares["off_target"] / known).where(known >= FEW)
    table = []
    for run, own in sorted(off.groupby(["method", "variant"]), key=lambda pair: method_key(pair[0])):
        judged = own.dropna().sort_values(ascending=False, kind="stable")
        worst = [MISSING, MISSING]
        for (*_, test, direction), share in judged[:1].items():
            worst = [f"{direction} on {test}", f"{100 * share:.1f}%"]
        table.append((run_label(run), [*worst, int((judged > OFF).sum()), len(judged), len(own) - len(judged)]))
    columns = ["worst direction", "share there", f"directions above {100 * OFF:.0f}%", "judged", "not judged"]
    notes = [f"Share: of the outputs whose language is known. Not judged: it is known of fewer than {100 * FEW:.0f}%."]
    return Table.of("Output in a wrong language", "method", columns, table, notes=notes)


def findings(inputs: Inputs) -> list[tuple[str, str, str]]:
    """What people ask of a run: (question, answer, id of the section)."""
    found = []
    chosen = {name: ", ".join(map(str, layers)) or "none" for name, layers in chosen_layers(inputs.layers).items()}
    if chosen:
        same = len(set(chosen.values())) == 1
        texts = list(chosen.values())[:1] if same else [f"{name}: {chosen[name]}" for name in sort_directions(chosen)]
        text = f"{'; '.join(texts)} (of {inputs.layers['layer'].nunique()}, counted from 0)"
        found.append(("Layers chosen", text, "detection"))
    if inputs.neurons is not None:
        every = inputs.neurons.drop_duplicates(NEURON)
        specific, inside = every["kind"] == "specific", every["selected"]
        text = f"{specific.sum():,} of {len(every):,} neurons; {(specific & inside).sum():,} of {inside.sum():,}"
        found.append(("Specific neurons", f"{text} in the chosen layers", "detection"))
    if text := foreign_masks(inputs):
        found.append(("Masks of landermt", text, "provenance"))
    if inputs.counts is not None:
        sums = inputs.counts.groupby("reason")["pairs"].sum()
        found.append(("Pairs for training", f"{sums.get('kept', 0):,} of {sums.get('read', 0):,} kept", "data"))
    return found


def cautions(inputs: Inputs, tests: list[str], sizes: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What to be careful about when reading the scores. `sizes`: test set -> direction -> number of sentences."""
    scores, tested = inputs.scores, inputs.significance
    seeds, found = scores["seed"].nunique(), []
    if seeds == 1:
        found.append(ONE_SEED if tested.tests else "One seed and no tests: small differences may be chance.")
    elif tested.seeds:
        found.append(
            f"{seeds} seeds: significant means over sentences and over seeds. A few seeds show little of their spread."
        )
    return found + [f"{test}: {text}" for test in tests for text in _test_cautions(scores, test, sizes.get(test, {}))]


def _test_cautions(scores: pd.DataFrame, test: str, sizes: Mapping[str, int]) -> list[str]:
    found, wanted = [], sides(scores, test)
    top = max(means_by_run(scores, test, "bleu", name).max() for name in wanted)
    if top < FLOOR:
        found.append(f"no method reaches {FLOOR:g} BLEU; the best has {top:.1f}. The order of such scores says little.")
    rows = scores[(scores["test"] == test) & ~scores["direction"].isin(MEANS)]
    if few := {name: number for name, number in sizes.items() if number < SMALL}:
        least = min(few.values())
        found.append(
            f"only {least} sentences in {first(sort_directions(few))}. Differences below a few points say little."
        )
    values = dict(list(rows.groupby("metric")))
    if "contaminated" in values and (worst := values["contaminated"].nlargest(1, "score").iloc[0])["score"] > 0:
        found.append(
            f"up to {100 * worst['score']:.1f}% of the test items are in the training data ({worst['direction']}). "
            "The scores without them are under “Other measurements”."
        )
    if "bleu_nfc" in values:
        keys = ["method", "variant", "seed", "direction"]
        plain, one = (values[metric].set_index(keys)["score"] for metric in ("bleu", "bleu_nfc"))
        place = (one - plain).abs().idxmax()
        found.append(
            f"texts are in different Unicode forms. In one form, BLEU of {run_label(place[:2])} is {one[place]:.1f} "
            f"instead of {plain[place]:.1f} ({place[-1]}). The other scores are under “Other measurements”."
        )
    for metric, limit, text in (("empty", 0.01, "is empty"), ("copied", 0.05, "repeats the source")):
        if metric in values:
            means = (
                values[metric]
                .groupby(["method", "variant"])["score"]
                .mean()
                .sort_values(ascending=False, kind="stable")
            )
            over = [f"{run_label(run)} {100 * value:.1f}%" for run, value in means.items() if value > limit]
            found += [f"more than {100 * limit:.0f}% of the output {text}: {first(over)}."] if over else []
    for name, of in wanted.items():
        cut, raw = (means_by_run(scores, test, metric, name) for metric in ("bleu", "bleu_raw"))
        gaps = (cut - raw).dropna().abs().sort_values(ascending=False, kind="stable")
        shown = [f"{run_label(run)} {cut[run]:.1f} / {raw[run]:.1f}" for run, gap in gaps.items() if gap >= 1]
        if shown:
            found.append(f"output goes on after the translation. BLEU of cut / raw output, {of}: {first(shown)}.")
    bleu = rows[rows["metric"] == "bleu"].groupby(["method", "variant"])["direction"].nunique()
    for run in sorted(bleu.index, key=method_key):
        if bleu[run] < (total := rows["direction"].nunique()):
            found.append(f"{run_label(run)} has scores in {bleu[run]} of {total} directions; its means are over those.")
    return found
