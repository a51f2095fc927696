"""The learning rate of each method: dev losses of all rates that were tried, and the chosen ones as a config file."""

import yaml

from lander.experiments import rates
from lander.experiments.samples import SUMMARY, Inputs, by_key, loss_samples, methods_of, summarise
from lander.report import charts
from lander.report.document import Document, number, numbers
from lander.report.tables import MISSING, Table
from lander.shared.errors import UserError


def tune(inputs: Inputs) -> Document:
    """Method x learning rate; the lowest dev loss is chosen. `values` has the learning rate of each variant."""
    trials = inputs.losses[inputs.losses["variant"].isin(inputs.values)]
    if trials.empty:
        raise UserError("--values, --loss: no losses of trials; give VARIANT=RATE and the files of losses")
    data = summarise(loss_samples(trials, "dev"))
    data["learning_rate"] = [float(inputs.values[variant]) for variant in data["variant"]]
    found, values = by_key(data, "method", "learning_rate"), sorted(data["learning_rate"].unique().tolist())
    rows, chosen = [], {}
    for method in methods_of(data):
        tried = {value: found[method, value].mean for value in values if (method, value) in found}
        if not any(abs(loss) < float("inf") for loss in tried.values()):
            raise UserError(f"tune: {method} diverged at every learning rate; set a lower one to start from")
        # of equal losses the rate nearest to the middle of the grid
        best = chosen[method] = rates.best_rate(tried, (min(tried) * max(tried)) ** 0.5)
        within = "inside" if rates.inside(tried, best) else "at the edge"
        cells = [f"{best:g}", within, len(tried)]
        for value in values:
            row = found.get((method, value))
            cells.append(number(row.mean, 4, row.spread, best=value == best) if row else MISSING)
        rows.append((method, cells))
    titles = ["chosen", "its place", "trials", *(f"{value:g}" for value in values)]
    notes = [
        f"Dev loss after training, nats per token. Bold: chosen. {MISSING}: not tried. At the edge: rates beyond those "
        "tried may be better."
    ]
    data["chosen"] = data["learning_rate"] == data["method"].map(chosen)
    config = {"finetune": {method: {"learning_rate": rate} for method, rate in chosen.items()}}
    head = "# Learning rates with the lowest dev loss, of `snakemake tune`; pass it with --configfile.\n"
    place = data["method"].map(list(chosen).index)
    data = data.assign(place=place, series=data["method"], value=data["learning_rate"]).sort_values(["place", "value"])
    rings, unit = {method: [rate] for method, rate in chosen.items()}, "dev loss (nats per token)"
    panel = charts.Panel(data, "learning rate", unit, "Ringed: chosen", chosen=rings)
    return Document(
        "tune",
        f"Learning rates tried and chosen, by dev loss, of {len(chosen)} method{'s' if len(chosen) > 1 else ''}",
        [inputs.title, Table.of("Dev loss by learning rate", "method", titles, rows, notes=notes)],
        numbers(data[["method", "learning_rate", *SUMMARY, "chosen"]]),
        charts.lines("tune", "Dev loss by learning rate", [panel], "log"),
        {"tune.yaml": head + yaml.safe_dump(config, sort_keys=False)},
    )
