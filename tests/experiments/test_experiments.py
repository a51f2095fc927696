"""Tests of `lander.experiments`, on small made-up numbers."""

import json
import math
import xml.etree.ElementTree as ET
from functools import partial
from itertools import product

import pandas as pd
import pytest
import yaml

from lander.evaluate.collect import COLUMNS, write_scores
from lander.evaluate.outputs import flags as flags_of
from lander.evaluate.scoring import score, segments
from lander.evaluate.translations import Translations
from lander.experiments.__main__ import main
from lander.experiments.forgetting import pareto
from lander.experiments.methods import best_table
from lander.experiments.rates import MOST, best_rate, inside, next_rates, next_round, rate_name
from lander.experiments.samples import LOSS_COLUMNS, loss_samples, minus, read_losses, score_samples, summarise
from lander.experiments.transfer import RELATIONS, relation
from lander.report import paper
from lander.report.charts import apart
from lander.report.significance import Outcome
from lander.shared import tables
from lander.shared.errors import UserError
from lander.shared.languages import parse_direction

FOUR = ("en-de", "de-en", "en-fr", "fr-en")
DRAWS = ["draw2", "draw3"]
METRICS = {"bleu": 1.0, "chrf2++": 2.0, "bleu_raw": 0.5}


def scores(path, models, directions=FOUR, tests=("news",)):
    """One file of scores. `models`: METHOD/VARIANT/sSEED -> BLEU, a number or a function of test and direction."""
    rows = []
    for (model, value), test, direction in product(models.items(), tests, directions):
        method, variant, seed = model.split("/")
        bleu = value(test, direction) if callable(value) else value
        for metric, factor in METRICS.items():
            row = (method, variant, seed[1:], test, direction, metric, f"{bleu * factor:.6f}", "nrefs:1")
            rows.append(dict(zip(COLUMNS, row, strict=True)))
    write_scores(path, rows)
    return path


def losses(path, rows):
    """One file of losses. Rows: model, state, kind, name, direction, loss, tokens (of four characters)."""
    full = []
    for model, state, kind, name, direction, loss, tokens in rows:
        method, variant, seed = model.split("/")
        full.append((method, variant, seed[1:], state, kind, name, direction, loss, tokens, 4 * tokens, loss / 4))
    pd.DataFrame(full, columns=LOSS_COLUMNS).to_csv(path, index=False, na_rep="nan")
    return path


def runs(folder, models, **more):
    """Files run.json. `models`: name -> parameters trained. Returns the flags."""
    found = []
    for model, trained in models.items():
        path = folder / f"{model.replace('/', '+')}.json"
        path.write_text(json.dumps({"parameters_trained": trained, "seconds": 60, "tokens": 5000} | more))
        found.append(f"{model}={path}")
    return found


def flags(**given):
    """The command line: lists become several values."""
    found = []
    for name, value in given.items():
        values = value if isinstance(value, list | tuple) else [value]
        found += [f"--{name.replace('_', '-')}", *map(str, values)]
    return found


def make(folder, name, **given):
    """Run an experiment. Returns its text and its numbers."""
    main([name, *flags(**given, out=folder / "out")])
    text = (folder / "out" / f"{name}.md").read_text()
    assert text.startswith("# ")
    ET.parse(folder / "out" / f"{name}.svg")
    return text, pd.read_csv(folder / "out" / f"{name}.csv", keep_default_na=False)


def row(text, label, caption=""):
    """Cells of the first row with a label, after a caption."""
    lines = text[text.index(caption) :].splitlines()
    found = next(line for line in lines if line.startswith(f"| {label} "))
    return [cell.strip() for cell in found.split("|")[2:-1]]


def value(data, **keys):
    """The mean of the only row with these keys."""
    for key, one in keys.items():
        data = data[data[key].astype(str) == str(one)]
    assert len(data) == 1, (keys, len(data))
    return float(data["mean"].iloc[0])


# ---------------------------------------------------------------- samples


def table1_models():
    models = {"zero-shot/main/s0": 6.0, "zero-shot/best-prompt/s0": 8.0}
    models |= {"full/main/s0": 20.0, "full/main/s1": 22.0}
    models |= {"landermt/main/s0": lambda _, name: 30.0 if name.endswith("en") else 10.0, "landermt/main/s1": 19.0}
    for draw, level in (("main", 12), ("draw2", 14), ("draw3", 19)):
        models |= {f"random/{draw}/s0": level, f"random/{draw}/s1": level + 2}
    return models


TRAINED = {model: 1000 for model in table1_models() if not model.startswith("zero")}
COSTS = "## What training costs"


def test_means_over_seeds_and_over_draws(tmp_path):
    file = scores(tmp_path / "s.csv", table1_models())
    text, data = make(tmp_path, "table1", scores=file, runs=runs(tmp_path, TRAINED, flops=2e12), draws=DRAWS)
    bleu = data[data["metric"] == "bleu"]
    assert value(bleu, method="full", direction="mean") == 21
    assert value(bleu, method="landermt", direction="mean-into-en") == 24.5  # of 30 and 19
    draws = bleu[(bleu["method"] == "random") & (bleu["direction"] == "mean")].iloc[0]
    assert draws[["mean", "number", "over"]].tolist() == [16, 3, "draws"]  # draws have 13, 15 and 20
    assert float(draws["spread"]) == pytest.approx(math.sqrt(13), rel=1e-5)
    assert row(text, "method", "## BLEU") == ["en-de", "de-en", "en-fr", "fr-en", "into en", "out of en"]
    assert row(text, "random (3 draws)", "## BLEU") == ["16.0 ±3.6"] * 6
    assert row(text, "full", "## BLEU")[0] == "**21.0** ±1.4"
    assert row(text, "landermt", "## BLEU")[4:] == row(text, "landermt", "## Means")[:2] == [
        "**24.5** ±7.8", "14.5 ±6.4",
    ]  # fmt: skip
    assert row(text, "landermt", COSTS) == ["1k", "5k", "60 s", "2T"]
    assert row(text, "zero-shot (best prompt)", COSTS) == ["–"] * 4
    known = runs(tmp_path, TRAINED, settings={"learning_rate": 0.002})
    for rate in ("0.002", "0.0003"):
        runs(
            tmp_path,
            dict.fromkeys(("landermt/main/s0", "landermt/main/s1"), 1000),
            settings={"learning_rate": float(rate)},
        )
        text, _ = make(tmp_path, "table1", scores=file, runs=known, draws=DRAWS)
        assert row(text, "landermt", COSTS)[:2] == ["1k", rate]
        assert ("One learning rate for all" in text) == (rate == "0.002")


def scored(folder, models, references):
    """Folders of scores and segment scores. `models`: METHOD/VARIANT/sSEED -> direction -> translations."""
    for model, texts in models.items():
        method, variant, seed = model.split("/")
        for direction, hypotheses in texts.items():
            items = Translations(["?"] * len(references), references, hypotheses, hypotheses)
            pair = parse_direction(direction)
            scores, measured = score(items, pair.target, flags_of(items, pair, None))
            place = {"method": method, "variant": variant, "seed": seed[1:], "test": "news", "direction": direction}
            path = folder / model / "news" / f"{direction}.csv"
            rows = [{**place, "metric": s.metric, "score": str(s.value), "signature": "s"} for s in scores]
            write_scores(path, rows)
            tables.write(path.with_suffix(".segments.parquet"), segments(place, measured), "segments")
    return [folder / model for model in models]


def test_the_first_table_says_who_won_and_how_surely(tmp_path):
    references = [f"der alte Hund nummer {n} läuft heute schnell nach Hause" for n in range(40)]
    same, worse = list(references), [text.replace("heute schnell", "morgen") for text in references]
    slip = [worse[0], *references[1:]]
    bad = ["nein"] * 40
    models = {
        "full/main/s0": {"en-de": same, "de-en": bad},
        "lora/main/s0": {"en-de": slip, "de-en": bad},
        "landermt/main/s0": {"en-de": worse, "de-en": bad},
    }
    folders = scored(tmp_path / "evaluate", models, references)
    text, data = make(tmp_path, "table1", scores=folders)
    bleu = data[(data["metric"] == "bleu") & (data["direction"] == "en-de")].set_index("method")["mean"].astype(float)
    gaps = [f"{100 - round(bleu[method], 1):.1f}" for method in ("lora", "landermt")]
    # one sentence of 40 differs: of two swappings both are as far apart, p = 1
    wanted = ["full", "100.0", "lora", f"{gaps[0]} p = 1.00", f"**{gaps[1]}** p < 0.001", "lora"]
    assert row(text, "out of en", "## Best method on news") == wanted
    assert "0.0, is below 5" in row(text, "into en", "## Best method on news")[0]
    (folders[0] / "news/en-de.segments.parquet").unlink()
    text, _ = make(tmp_path, "table1", scores=folders)
    assert row(text, "out of en", "## Best method on news")[2:] == ["lora", *gaps, ""]
    assert "Not tested" in text


def test_who_is_close_and_who_has_no_common_seed():
    a, b, c, d = runs_ = [(name, "main") for name in "abc"] + [("random", "draws")]
    names = {run: run[0] for run in runs_}
    tested = {
        (a, b, "mean"): Outcome(1.04, 0.02, 0.2, 1.9),
        (a, c, "mean"): Outcome(2, 0.2, -1, 4),
        (a, d, "mean"): Outcome(9, float("nan"), 8, 10),
    }
    ((_, cells),) = best_table("news", {"mean": {a: 30.04, b: 29.0, c: 28.0, d: 21.0}}, names, tested).rows
    assert [cell.text for cell in cells] == ["a", "30.0", "b", "1.0", "", "c"]
    assert (cells[3].best, cells[3].spread) == (True, "p = 0.020")
    ((_, cells),) = best_table("news", {"mean": {a: 30.0, d: 21.0}}, names, tested).rows
    assert (cells[3].text, cells[3].best, cells[3].spread) == ("9.0", False, "95% interval +8.0 to +10.0")
    ((_, cells),) = best_table("news", {"mean": {a: 30.0}}, {a: "a"}, {}).rows
    assert [cell.text for cell in cells] == ["a", "30.0", "", "", "", ""]


def test_no_ranking_below_five(tmp_path):
    low = {"zero-shot/main/s0": 1.0, "full/main/s0": lambda _, name: 30.0 if name == "en-de" else 4.9}
    text, _ = make(tmp_path, "table1", scores=scores(tmp_path / "s.csv", low))
    for caption, bold in (("## BLEU", ["**30.0**", "**17.4**"]), ("## chrF2++", ["**60.0**", "**34.9**"])):
        assert [cell for cell in row(text, "full", caption) if "**" in cell] == bold  # en-de and out of en
    assert "No ranking in de-en, en-fr, fr-en and into en:" in text
    text, _ = make(tmp_path, "table1", scores=scores(tmp_path / "s.csv", low | {"full/main/s0": 4.9}))
    assert "**" not in text[: text.index("The paper's table 1")]
    assert "No ranking in any column" in text


def test_loss_per_character_stands_beside_the_scores(tmp_path):
    models = {"zero-shot/main/s0": 10.0, "full/main/s0": 20.0, "lora/main/s0": 30.0}
    path = scores(tmp_path / "s.csv", models)
    loss = {"zero-shot": 1.0, "full": 0.5, "lora": 0.25}
    rows = [
        (method, "main", "0", "news", name, "loss_per_character", nats * (1 + (name == "fr-en")), "lander:loss")
        for method, nats in loss.items()
        for name in FOUR
        if (method, name) != ("lora", "fr-en")  # it has diverged there
    ]
    pd.concat([pd.read_csv(path), pd.DataFrame(rows, columns=COLUMNS)]).to_csv(path, index=False)
    text, data = make(tmp_path, "table1", scores=path)
    loss = data[(data["metric"] == "loss_per_character") & (data["method"] == "full")]
    assert value(loss, direction="mean-into-en") == pytest.approx((0.5 + 1.0) / 2)  # a mean of directions, as of BLEU
    assert value(loss, direction="mean-out-of-en") == 0.5
    assert row(text, "full", "## Means")[-2:] == ["0.750", "0.500"]
    assert row(text, "lora", "## Means")[-2:] == ["–", "0.250"]


def test_test_sets_may_have_other_directions(tmp_path):
    models = {"zero-shot/main/s0": 10.0, "full/main/s0": 20.0}
    sets = {"news": FOUR, "talks": ["en-de"]}
    files = [scores(tmp_path / f"{name}.csv", models, served, [name]) for name, served in sets.items()]
    text, _ = make(tmp_path, "table1", scores=files)
    assert row(text, "full", "## Means over directions on talks") == ["**20.0**", "**40.0**"]


def test_gaps_are_named(tmp_path):
    whole = scores(tmp_path / "a.csv", {"full/main/s0": 20.0, "full/main/s1": 20.0})
    part = scores(tmp_path / "b.csv", {"lora/main/s1": 20.0}, directions=FOUR[:3])
    some = {f"{name}/main/s0": 9.0 for name in ("zero-shot", "landermt-ls", "landermt")}
    for name, given, message in (
        ("table1", {"scores": [whole, part]}, r"lora/main/s1 has no news fr-en bleu, news fr-en chrf2\+\+, which"),
        ("table1", {"scores": whole, "directions": [*FOUR, "en-it"]}, "no BLEU of en-it"),
        ("table1", {"scores": whole, "runs": runs(tmp_path, {"full/main/s0": 5})}, "full/main/s1; give the files"),
        ("table1", {"scores": [whole, whole]}, "full main 0 news en-de bleu is there twice"),
        ("table2", {"scores": scores(tmp_path / "c.csv", some)}, "none of layers and landermt-lg"),
        ("sweep_k", {"scores": whole}, "--loss: sweep_k needs it"),
    ):
        with pytest.raises(UserError, match=message):
            make(tmp_path, name, **given)
    assert not (tmp_path / "out").exists()  # nothing is written where something is wrong


def test_folders_of_scores(tmp_path):
    for model in ("full/main/s0", "lora/main/s0"):
        for direction in FOUR:
            scores(tmp_path / model / "news" / f"{direction}.csv", {model: 20.0}, [direction])
        (tmp_path / model / "news" / "en-de.flags.csv").write_text("line,flag\n")
    folders = [tmp_path / "full/main/s0", tmp_path / "lora/main/s0"]
    _, data = make(tmp_path, "table1", scores=folders)
    assert set(data["direction"]) >= set(FOUR)
    _, data = make(tmp_path, "table1", scores=folders, items=["news/de-en", "news/fr-en"])
    assert set(data["direction"]) == {"de-en", "fr-en", "mean", "mean-into-en"}
    (folders[1] / "news" / "fr-en.csv").unlink()
    with pytest.raises(UserError, match="lora/main/s0 has no news fr-en bleu"):
        make(tmp_path, "table1", scores=folders, items=["news/de-en", "news/fr-en"])
    with pytest.raises(UserError, match=r"s0: no <test>/<direction>\.csv in it"):
        make(tmp_path, "table1", scores=folders, items=["talks/de-en"])


def test_draws_without_a_common_seed(tmp_path):
    rows = [("random", "main", "0", 1.0), ("random", "draw2", "1", 2.0)]
    rows = pd.DataFrame(rows, columns=["method", "variant", "seed", "value"])
    with pytest.raises(UserError, match="share no seed"):
        summarise(rows, DRAWS)
    more = pd.concat([rows, rows.iloc[:1].assign(seed="1", value=5.0)])
    assert summarise(more, DRAWS)[["mean", "number"]].to_numpy().tolist() == [[3.5, 2]]  # 5 and 2, at seed 1


def test_without_english_there_is_one_mean():
    columns = ["method", "variant", "seed", "test", "direction", "metric", "score"]
    rows = [("full", "main", "0", "t", name, "bleu", 10.0 * place) for place, name in enumerate(("cs-uk", "uk-cs"))]
    found = score_samples(pd.DataFrame(rows, columns=columns), [])
    assert found.set_index("direction")["value"].to_dict() == {"cs-uk": 0, "uk-cs": 10, "mean": 5}


def test_losses_that_diverged(tmp_path):
    path = losses(tmp_path / "l.csv", [("full/main/s0", "trained", "dev", "d", "en-de", float("nan"), 10)])
    found = loss_samples(read_losses([path]), "dev")
    assert found["value"].tolist() == [math.inf]
    path.write_text(path.read_text().replace("nan", ""))  # cut off
    with pytest.raises(UserError, match=r"l\.csv"):
        read_losses([path])


# ---------------------------------------------------------------- tables 1 and 2, figure 9


def test_the_papers_numbers():
    table = paper.table(1)
    rows = {label: [cell.text for cell in cells] for label, cells in table.rows}
    assert rows["LANDeRMT"][:2] == ["18.85", "22.03"]
    assert rows["LANDeRMT"][10:] == ["22.00", "27.62", "805M"]  # mean of 22.03, 25.99, 30.55, 31.44 and 28.11: 27.62
    best = {label for label, cells in table.rows for cell in cells if cell.best}
    assert best == {"LANDeRMT"}
    bold = {label: [cell.best for cell in cells] for label, cells in paper.table(2).rows}
    assert bold["LANDeRMT-LG"] == [False, False, True, False]


def test_table2_and_second_model_take_their_methods(tmp_path):
    names = ("zero-shot", "layers", "landermt-lg", "landermt-ls", "landermt", "adapter-lora", "lora")
    models = {f"{name}/main/s{seed}": 10.0 + seed for name in names for seed in (0, 1)}
    file = scores(tmp_path / "s.csv", models, tests=("news", "talks"))
    text, data = make(tmp_path, "table2", scores=file)
    assert set(data["method"]) == set(names[:5])
    assert "## chrF2++ (0-100) on talks" in text
    assert row(text, "LANDeRMT-LS") == ["22.27", "21.46", "16.18", "23.16"]
    text, data = make(tmp_path, "second_model", scores=file, title="tiny")
    assert set(data["method"]) == {"zero-shot", "adapter-lora", "landermt"}
    assert text.startswith("# Figure 9")
    assert "on tiny" in text.partition("\n")[0]
    assert "adapter-lora" in (tmp_path / "out" / "second_model.svg").read_text()


# ---------------------------------------------------------------- transfer


def test_relation():
    assert [relation("en-de", tested) for tested in ("en-de", "en-fr", "fr-de", "de-en", "fr-en")] == list(RELATIONS)


def test_transfer(tmp_path):
    base = {"zero-shot/main/s0": lambda _, name: 10.0 if name.endswith("en") else 2.0}
    gain = {"trained": 10, "reverse": 1, "same source": 4, "same target": -3, "unrelated": 0}
    models = {
        f"{method}/only-{trained}/s0": lambda _, name, t=trained, m=method: (
            base["zero-shot/main/s0"](_, name) + gain[relation(t, name)] * (1 if m == "full" else 2)
        )
        for method in ("full", "landermt")
        for trained in FOUR
    }
    values = [f"only-{name}={name}" for name in FOUR]
    text, data = make(tmp_path, "transfer", scores=scores(tmp_path / "s.csv", base | models), values=values)
    assert value(data, method="full", trained="en-de", tested="en-fr", metric="bleu") == 4
    assert value(data, method="landermt", trained="de-en", tested="fr-en", metric="chrf2++") == -12
    assert row(text, "full", "## Mean change")[:5] == ["+10.0 ±0.0", "+4.0 ±0.0", "-3.0 ±0.0", "+1.0 ±0.0", "0.0 ±0.0"]
    assert row(text, "de-en", "## landermt: change of BLEU") == ["+2.0", "**+20.0**", "0.0", "-6.0"]
    prompted = base | {"zero-shot/best-prompt/s0": lambda _, name: {"de-en": 13.0, "fr-en": 9.0}.get(name, 4.0)}
    text, data = make(tmp_path, "transfer", scores=scores(tmp_path / "s.csv", prompted | models), values=values)
    cells = data[(data["metric"] == "bleu") & (data["method"] == "full") & (data["trained"] == "en-de")]
    assert cells.set_index("tested")["mean_to_better"].astype(float).to_dict() == {
        "en-de": 8, "de-en": -2, "en-fr": 2, "fr-en": 1
    }  # fmt: skip
    assert row(text, "full", "## Mean change against the better")[3] == "-0.5 ±1.7"  # reverse: 1 - (3, 2, -1, 2)
    assert "the base's best prompt alone is worth 1.5 BLEU over the fixed one" in text
    for caption, means in (("## Mean change on", (0.5, 1.0)), ("## Mean change against", (-1.0, -0.5))):
        shown = [row(text, method, caption)[5] for method in ("full", "landermt")]  # not trained: of 1 4 0, 1 -3 0
        assert [float(cell.split()[0]) for cell in shown] == list(means)
    assert (tmp_path / "out" / "transfer.svg").read_text().count("+20.0") == 4
    del models["full/only-fr-en/s0"]
    for given, named, message in (
        (base | models, values, "full has no only-fr-en, which"),
        (models, values, "zero-shot/main"),
        (base | models, [], "--values"),
    ):
        with pytest.raises(UserError, match=message):
            make(tmp_path, "transfer", scores=scores(tmp_path / "s.csv", given), values=named)


# ---------------------------------------------------------------- forgetting


def test_pareto():
    points = pd.DataFrame({"loss": [0, 1, 1, 2, 2], "gain": [0, 3, 2, 3, 5], "size": [0, 5, 4, 1, 9]})
    assert pareto(points, ["loss"], ["gain"]) == [True, True, False, False, True]
    assert pareto(points, ["loss", "size"], ["gain"]) == [True, True, True, True, True]
    same = pd.DataFrame({"loss": [1, 1], "gain": [1, 1]})
    assert pareto(same, ["loss"], ["gain"]) == [True, True]


def forgetting_files(folder):
    trained, other = ("en-de", "de-en"), ("de-fr",)
    plain = {"zero-shot/main/s0": 4.0, "full/main/s0": 30.0, "full/main/s1": 32.0, "full/mix0.5/s0": 20.0}
    plain |= {"landermt/main/s0": 24.0, "landermt/main/s1": 26.0}
    half = {model: bleu / 2 for model, bleu in plain.items()} | {"zero-shot/best-prompt/s0": 14.0}
    files = [scores(folder / "a.csv", plain | {"zero-shot/best-prompt/s0": 9.0}, trained)]
    files.append(scores(folder / "b.csv", half, other))
    levels = {"zero-shot": 0.0, "full": 1.2, "landermt": 0.4}
    rows = []
    for model in plain:
        add = levels[model.split("/")[0]] * (0.5 if "mix" in model else 1)
        rows += [(model, "trained", "dev", "d", name, 2.0, 100) for name in trained]
        rows.append((model, "trained", "untrained", "news", "de-fr", 3 + add, 100))
        rows += [(model, "trained", "text", "t", name, 3 + add * k, 100) for k, name in ((1, "de"), (2, "fr"))]
        if model.startswith("landermt"):
            rows.append((model, "start", "untrained", "news", "de-fr", 3.1, 100))
            rows += [(model, "start", "text", "t", name, 3.0, 100) for name in ("de", "fr")]
    sizes = {model: 7000 if "full" in model else 900 for model in plain if "zero" not in model and "mix" not in model}
    given = {"scores": files, "loss": losses(folder / "l.csv", rows), "runs": runs(folder, sizes)}
    return given | {"values": "mix0.5=0.5"}


def test_forgetting(tmp_path):
    given = forgetting_files(tmp_path)
    text, data = make(tmp_path, "forgetting", **given, languages=["de", "fr"], text="held-out news")
    assert "\nPlain text: held-out news.\n" in text
    mine = data[(data["method"] == "landermt")]
    wanted = {"gain bleu": 16, "gain_fixed bleu": 21}  # 25 - 9, the better prompt; 25 - 4
    wanted |= {
        "untrained_fixed bleu": 10.5,
        "untrained bleu": -1.5,
    }  # 12.5 - 2; 12.5 - 14: what seemed a gain is a loss
    wanted |= {"untrained routing": 0.025, "untrained training": 0.075, "untrained total": 0.1}
    wanted |= {"text routing": 0, "text total": 0.15, "text fr": 0.2}  # total: (0.4 + 0.8) / 2 / 4
    assert {metric: value(mine, metric=metric) for metric in wanted} == pytest.approx(wanted)
    assert row(text, "landermt", "## Directions that were not trained")[:2] == ["-1.5 ±0.7", "+10.5 ±0.7"]
    assert row(text, "zero-shot (best prompt)", "## Directions that were not trained")[1] == "+12.0"
    mixed = data[data["variant"] == "mix0.5"]
    assert value(mixed, metric="gain bleu") == 11
    assert value(mixed, metric="parameters_trained") == 7000  # as those of full, of which it is made
    assert row(text, "full", "## Increase of the loss (")[:3] == ["–", "–", "+0.3000 ±0.0000"]
    pareto = {label: row(text, label, "## Gain")[-1] for label in ("full", "full (mix0.5)", "landermt")}
    assert pareto == {"full": "gain, loss", "full (mix0.5)": "", "landermt": "gain, loss"}
    assert "landermt" in (tmp_path / "out" / "forgetting.svg").read_text()


def test_forgetting_names_what_is_missing(tmp_path):
    given = forgetting_files(tmp_path)
    table = pd.read_csv(given["loss"])
    gap = (table["state"] == "start") & (table["direction"] == "fr")
    for change, rows, message in (
        ({"languages": ["de", "it"]}, table, "kind text in it"),
        ({"scores": given["scores"][:1]}, table, "no direction that is not trained"),
        ({}, table[~(gap & (table["seed"] == 1))], "landermt/main/s1 has no text start t fr"),
        ({}, table[~gap], "state start has no loss of kind text in fr"),
    ):
        rows.to_csv(given["loss"], index=False)
        with pytest.raises(UserError, match=message):
            make(tmp_path, "forgetting", **(given | change))


# ---------------------------------------------------------------- readings, sweeps, estimators


def dev(model, start, end):
    """Rows of the dev loss: of two directions the second has three times the tokens."""
    parts = (("trained", end), ("start", start))
    return [
        (model, state, "dev", "d", name, loss + place, tokens)
        for state, loss in parts
        if loss is not None
        for place, (name, tokens) in enumerate((("en-de", 100), ("de-en", 300)))
    ]


def measured(folder, models):
    """Flags of scores, losses and costs. `models`: name -> BLEU, dev loss at step 0 or None, dev loss."""
    rows = [one for model, (_, *ends) in models.items() for one in dev(model, *ends)]
    return {
        "scores": scores(folder / "s.csv", {model: bleu for model, (bleu, *_) in models.items()}),
        "loss": losses(folder / "l.csv", rows),
        "runs": runs(folder, dict.fromkeys(models, 1500)),
    }


def test_readings(tmp_path):
    level = {"main": 2.0, "paper": 2.5, "routing.gate-off": 1.9, "layers.side-lower": 2.05}
    noise = {"main": (0, 0), "paper": (0, 0.1), "routing.gate-off": (0, 0.02), "layers.side-lower": (-0.3, 0.1)}
    models = {
        f"landermt/{variant}/s{seed}": (40 - 10 * loss, loss + 1, loss + noise[variant][seed])
        for variant, loss in level.items()
        for seed in (0, 1)
    }
    models |= {f"landermt-lg/{variant}/s0": (7.0, 3.0, 2.5) for variant in ("main", "ablation.untrained-absent")}
    given = measured(tmp_path, models) | {"values": ["main=repaired", "paper=paper"]}
    text, data = make(tmp_path, "readings", **given)
    (found,) = (line for line in text.splitlines() if line.startswith("landermt: 2 of 3"))
    assert found.endswith("readings: repaired, by more than the standard deviation over seeds: routing.gate-off.")
    mine = data[data["method"] == "landermt"]
    assert value(mine, variant="main", metric="dev loss at step 0") == pytest.approx(3.75)  # (100 * 3 + 300 * 4) / 400
    assert value(mine, variant="paper", metric="dev loss") == pytest.approx(3.3)
    assert "landermt-lg: none of 1" in text
    cells = row(text, "routing.gate-off", "## Switches of landermt\n")
    assert cells[:4] == ["3.6500 ±0.0000", "-0.1000 ±0.0000", "**2.6600** ±0.0141", "-0.0900 ±0.0141"]
    assert cells[4:] == ["21.0 ±0.0", "+1.0 ±0.0", "42.0 ±0.0", "+2.0 ±0.0", "1.5k"]
    labels = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    assert labels[2:6] == ["main", "paper", "layers.side-lower", "routing.gate-off"]
    no_start = pd.read_csv(given["loss"]).query("state != 'start' or variant != 'paper'")
    no_start.to_csv(given["loss"], index=False)
    with pytest.raises(UserError, match="state start: nothing for landermt/paper/s0, landermt/paper/s1"):
        make(tmp_path, "readings", **given)


@pytest.mark.parametrize(
    ("name", "prefix", "key"), [("sweep_k", "k", "layers.k"), ("sweep_epsilon", "general", "neurons")]
)
def test_sweeps(tmp_path, name, prefix, key):
    level = {f"{prefix}0": 3.0, f"{prefix}1": 1.5, "main": 1.8, f"{prefix}10": 1.6}
    models = {
        f"landermt/{name}/s{seed}": (50 - 10 * loss, None, loss) for name, loss in level.items() for seed in (0, 1)
    }
    values = {variant: variant.removeprefix(prefix) for variant in level} | {"main": 3}
    given = measured(tmp_path, models) | {"values": [f"{variant}={value}" for variant, value in values.items()]}
    text, data = make(tmp_path, name, **given)
    assert list(dict.fromkeys(data["value"])) == [0, 1, 3, 10]  # by size, not by name
    assert set(data.loc[data["chosen"], "variant"]) == {f"{prefix}1"}
    assert f"Chosen on dev: {key}" in text
    assert ": 1, the lowest dev loss of 4 values. The config has 3." in text
    assert row(text, "3")[0:2] == ["2.5500 ±0.0000", "32.0 ±0.0"]
    assert row(text, "1")[0].startswith("**")
    assert row(text, "1")[-1] == "1.5k"
    for wrong in ([*given["values"], "main=1"], [*given["values"], "main=many"], []):
        with pytest.raises(UserError, match="--values"):
            make(tmp_path, name, **(given | {"values": wrong}))


def test_fewer_trained_neurons_chosen_in_several_ways(tmp_path):
    level = {"landermt/most1": 1.0, "landermt/most0.05": 1.4, "landermt/least0.05": 1.6, "random/most0.05": 1.3}
    models = {f"{model}/s{seed}": (50 - 10 * loss, None, loss) for model, loss in level.items() for seed in (0, 1)}
    models["zero-shot/main/s0"] = (10, None, 2.0)
    values = ["most1=1", "most0.05=0.05", "least0.05=0.05"]
    text, data = make(tmp_path, "sweep_trained", **measured(tmp_path, models), values=values)
    captions = [line for line in text.splitlines() if line.startswith("## ")]
    assert captions == [f"## {share} of the neurons of the chosen layers trained" for share in ("1", "0.05")]
    part = text[text.index(captions[1]) :]
    assert [line.split("|")[1].strip() for line in part.splitlines() if line.startswith("| ")][2:] == [
        "most aware",
        "least aware",
        "random",
    ]
    assert row(part, "random")[0] == "**2.0500** ±0.0000"
    assert row(part, "most aware")[0] == "2.1500 ±0.0000"
    assert row(part, "random")[1:] == [*["37.0 ±0.0"] * 3, *["74.0 ±0.0"] * 3, "1.5k"]
    assert set(data["series"]) == {"most aware", "least aware", "random"}  # the base is a line of the figure
    figure = (tmp_path / "out" / "sweep_trained.svg").read_text(encoding="utf-8")
    assert "line: the base" in figure


def test_estimators(tmp_path):
    level = {"landermt/main": 2.0, "landermt/awareness.estimator-activation": 2.6}
    level["landermt/awareness.estimator-summed"] = 1.0  # groups of other sizes
    level |= {"random/main": 2.1, "random/draw2": 2.14, "random/draw3": 2.12}
    models = {f"{model}/s0": (60 - 20 * loss, None, loss) for model, loss in level.items()}
    values = ["main=taylor", *(f"awareness.estimator-{name}={name}" for name in ("activation", "summed"))]
    text, data = make(tmp_path, "estimators", **measured(tmp_path, models), draws=DRAWS, values=values)
    assert row(text, "control: random (3 draws)")[:2] == ["2.8700 ±0.0200", ""]
    assert row(text, "taylor")[:2] == ["2.7500", "**-0.1200**"]  # by more than twice the spread over draws
    assert row(text, "activation")[:2] == ["3.3500", "+0.4800 worse"]
    assert row(text, "summed")[1] == ""  # another rule makes groups of other sizes
    assert set(data["estimator"]) == {"taylor", "activation", "summed", "control: random (3 draws)"}
    kept = {model: numbers for model, numbers in models.items() if "draw" not in model}
    text, _ = make(tmp_path, "estimators", **measured(tmp_path, kept), values=values)
    assert row(text, "taylor")[:2] == ["2.7500", "-0.1000"]
    assert "single draw" in text


# ---------------------------------------------------------------- learning rates


@pytest.mark.parametrize(
    ("losses", "trials", "wanted"),
    [
        ({}, 0, [0.5, 1, 2]),
        ({0.5: 2.0, 1: 1.0}, 0, [2]),
        ({0.5: 2.0, 1: 1.5, 2: 1.0}, 0, [4]),
        ({0.5: 1.0, 1: 1.5, 2: 2.0}, 9, [0.25]),
        ({0.25: 2.0, 0.5: 1.0, 1: 1.5, 2: 2.0}, 0, []),
        ({0.5: 2.0, 1: 1.5, 2: math.nan}, 0, []),
        ({0.5: 2.0, 1: math.nan, 2: math.inf}, 0, [0.25]),
        ({0.5: math.nan, 1: math.nan, 2: math.nan}, 0, [0.25]),
        ({0.5: 1.0, 1: 1.0, 2: 1.0}, 0, []),  # nothing is trained: no edge
        ({0.5: 2.0, 1: 1.0, 2: 1.5}, 3, []),
        ({0.5: 2.0, 1: 1.0, 2: 1.5}, 4, [0.707]),
        ({0.5: 2.0, 1: 1.0, 2: 1.5}, 6, [0.707, 1.41]),
        ({0.5: 2.0, 0.707: 1.2, 1: 1.0, 2: 1.5}, 6, [1.41, 0.841]),  # the larger gap first
    ],
)
def test_next_rates(losses, trials, wanted):
    assert next_rates(losses, 1, 2, trials) == wanted


def test_a_grid_that_never_ends():
    with pytest.raises(UserError, match="at an edge"):
        next_rates({float(f"{2.0**power:.3g}"): -power for power in range(MOST)}, 2.0, 2, 0)


def search(curves, starts, factor=2.0):
    """Play rounds against known dev losses; returns all losses that were asked for."""
    losses = {method: {} for method in starts}
    for _ in range(50):
        found = next_round(losses, starts, factor)
        if not any(found.values()):
            return losses
        for method, rates in found.items():
            for rate in rates:
                assert rate not in losses[method]
                losses[method][rate] = curves[method](rate)
    raise AssertionError("the search does not end")


def bowl(best, rate):
    return (math.log(rate) - math.log(best)) ** 2


def test_every_method_ends_with_its_best_inside_and_as_many_trials() -> None:
    bests = {"full": 0.001, "lora": 0.03, "landermt": 0.0011, "diverges": 0.0003}
    curves = {method: partial(bowl, best) for method, best in bests.items()}
    curves["diverges"] = lambda rate: math.nan if rate > 0.0005 else bowl(0.0003, rate)
    losses = search(curves, dict.fromkeys(curves, 0.001))
    assert len({len(tried) for tried in losses.values()}) == 1
    assert {0.00025, 0.002} <= set(losses["diverges"])
    for method, best in bests.items():
        found = best_rate(losses[method], 0.001)
        assert inside(losses[method], found)
        assert max(found / best, best / found) <= 2**0.5 + 0.01


def test_rate_names():
    names = [rate_name(rate) for rate in (0.003, 0.0025, 7.8125e-05, 1.0)]
    assert names == ["lr0.003", "lr0.0025", "lr7.81e-05", "lr1"]


def test_tune(tmp_path):
    level = {"full": {0.001: 3.0, 0.002: 2.0, 0.004: 2.5}, "lora": {0.002: 2.2, 0.004: 2.1, 7.81e-05: math.nan}}
    rows = [
        one
        for method, tried in level.items()
        for rate, loss in tried.items()
        for one in dev(f"{method}/{rate_name(rate)}/s0", 9.0, loss)
    ]
    file = losses(tmp_path / "l.csv", rows)
    values = [f"{rate_name(rate)}={rate}" for rate in (0.001, 0.002, 0.004, 7.81e-05)]
    text, data = make(tmp_path, "tune", loss=file, values=values)
    config = yaml.safe_load((tmp_path / "out" / "tune.yaml").read_text())
    assert config == {"finetune": {"full": {"learning_rate": 0.002}, "lora": {"learning_rate": 0.004}}}
    assert row(text, "full") == ["0.002", "inside", "3", "–", "3.7500", "**2.7500**", "3.2500"]
    assert row(text, "lora") == ["0.004", "at the edge", "3", "diverged", "–", "2.9500", "**2.8500**"]
    assert value(data, method="full", learning_rate=0.001) == 3.75
    bad = losses(tmp_path / "bad.csv", dev("full/lr0.001/s0", None, math.nan))
    with pytest.raises(UserError, match="full diverged at every learning rate"):
        make(tmp_path, "tune", loss=bad, values=values)


def test_labels_of_an_axis_do_not_touch():
    assert apart([0.1, 0.5, 0.9, 0.91, 0.92, 0.99]) == [0.1, 0.5, 0.9, 0.99]
    assert apart([1e-4, 2e-4, 4e-4, 8e-4], log=True) == [1e-4, 2e-4, 4e-4, 8e-4]
    assert apart([3.0]) == [3.0]
    assert apart([]) == []


def test_what_the_base_lacks_has_no_difference():
    mine = pd.DataFrame({"metric": ["bleu", "loss"], "value": [3.0, 0.5]})
    base = pd.DataFrame({"metric": ["bleu", "bleu"], "value": [1.0, 2.0]})
    assert minus(mine, base, ["metric"]).to_dict("records") == [{"metric": "bleu", "value": 1.5}]
