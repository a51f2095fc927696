"""One number of the config over a range: layers.k and neurons.general_share (figures 10 and 11)."""

from dataclasses import replace

from lander.evaluate.collect import MEANS
from lander.experiments.dev import LOSS, dev_columns, dev_rows, dev_samples
from lander.experiments.samples import SUMMARY, Inputs, summarise, tests_of
from lander.report import charts
from lander.report.document import Document, numbers
from lander.report.labels import MEAN_LABELS
from lander.report.tables import Table
from lander.shared.errors import UserError

SWEEPS = {  # experiment -> key of the config, axis of the figure, what it is
    "sweep_k": ("layers.k", "k (finetuned layers)", "the number of finetuned layers (figure 10)"),
    "sweep_epsilon": ("neurons.general_share", "epsilon (share of general neurons)", "epsilon (figure 11)"),
}


def sweep(name: str, inputs: Inputs) -> Document:
    """One table and one figure. `values` has the value of each variant; variants that it does not name are left out."""
    key, axis, what = SWEEPS[name]
    there = set(inputs.scores["variant"])
    try:
        values = {variant: float(value) for variant, value in inputs.values.items() if variant in there}
    except ValueError as error:
        raise UserError(f"--values: {error}; write VARIANT=NUMBER") from None
    if len(set(values.values())) < len(values):
        raise UserError(f"--values {' '.join(inputs.values)}: two variants have the same value; give each value once")
    if len(values) < 2:
        raise UserError("--values, --scores: a sweep needs the models of at least two values")
    scores = inputs.scores[inputs.scores["variant"].isin(values)]
    if methods := sorted(set(scores["method"]) - {"landermt"}):
        raise UserError(f"{name}: variants of {', '.join(methods)}; give those of landermt only")
    data = summarise(dev_samples(replace(inputs, scores=scores), start=False))
    data = data.assign(value=data["variant"].map(values)).sort_values("value", kind="stable")
    dev = data[data["metric"] == LOSS]
    best = data.loc[dev["mean"].idxmin(), "value"]
    data["chosen"] = data["value"] == best
    text = f"Chosen on dev: {key}: {best:g}, the lowest dev loss of {len(values)} values."
    text += f" The config has {inputs.values['main']}." if "main" in values else ""

    data["text"] = data["value"].map("{:g}".format)
    shown = dev_rows(data, "text", data["text"].unique(), dev_columns(data), lambda row: row.chosen)
    notes = ["Dev loss: nats per token. Bold: the lowest. ±: standard deviation over seeds."]
    ring, unit = {LOSS: [best]}, "dev loss (nats per token)"
    panels = [charts.Panel(dev.assign(series=LOSS), axis, unit, "Ringed: chosen", chosen=ring)]
    series = {f"bleu{mean.removeprefix('mean')}": f"BLEU {MEAN_LABELS[mean]}" for mean in MEANS}
    for test in tests_of(data):
        rows = data[(data["test"] == test) & data["metric"].isin(series)]
        rows = rows.assign(series=rows["metric"].map(series)).sort_values("metric", kind="stable")
        panels.append(charts.Panel(rows, axis, f"BLEU on {test} (0-100)"))
    return Document(
        name,
        f"Sweep of {key}, {what}: dev loss, BLEU, chrF2++, parameters trained",
        [inputs.title, text, Table.of(f"{key} of landermt", key, *shown, notes=notes)],
        numbers(data[["value", "variant", "test", "metric", *SUMMARY, "chosen"]]),
        charts.lines(name, f"Dev loss and BLEU over {axis}", panels),
    )
