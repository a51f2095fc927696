"""Variants: what a name changes, and which models share their tables."""

import json
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import pytest

from lander.config import config
from lander.config.config import READINGS
from lander.config.methods import MASKED
from lander.config.variants import MAIN, Variants, switches, trial
from lander.shared.errors import UserError
from lander.workflow import Plan
from lander.workflow.experiments import ABOUT
from lander.workflow.models import Models
from lander.workflow.paths import Paths


@pytest.fixture(scope="module")
def demo() -> config.Config:
    return config.read()


@pytest.fixture(scope="module")
def table(demo: config.Config) -> Variants:
    return Variants(demo, 6)


def test_what_a_name_changes(demo: config.Config, table: Variants) -> None:
    assert table.config("landermt", "main") == table.config("random", "draw2") == demo
    assert [table.row(name).draw for name in ("main", "draw2", "draw3")] == [1, 2, 3]
    assert table.config("landermt", "k5").layers.k == 5
    assert table.config("landermt", "general0.5").neurons.general_share == 0.5
    off = table.config("landermt", "routing.gate-off")
    assert (off.routing.gate, off.routing.share) == ("off", demo.routing.share)
    assert table.config("landermt", "awareness.estimator-taylor_squared").awareness.estimator == "taylor_squared"
    assert table.row("mix0.5").mix == 0.5


def test_paper_is_the_literal_column(demo: config.Config, table: Variants) -> None:
    paper = table.config("landermt", "paper")
    assert paper != demo
    assert paper == config.load(config.merge(config.effective(demo), {"workflow": {}, **READINGS["paper"]}))


def test_one_direction_is_trained_with_one_micro_batch_per_update(demo: config.Config, table: Variants) -> None:
    only = table.config("landermt", "only-en-de")
    assert [str(direction) for direction in only.directions] == ["en-de"]
    assert (demo.finetune.accumulate, only.finetune.accumulate) == (10, 1)


def test_a_trial_is_shorter_at_its_own_rate_for_every_method(demo: config.Config) -> None:
    tried = Variants(demo, 6, lambda: [trial(demo, "lr0.02", 0.02)]).config("lora", "lr0.02")
    assert tried.finetune.epochs == demo.finetune.epochs / 4
    assert {tried.finetune.method(name).learning_rate for name in config.trained(demo)} == {0.02}
    assert tried.finetune.method("lora").rank == demo.finetune.method("lora").rank
    steps = config.load(config.merge(config.effective(demo), {"workflow": {}, "finetune": {"steps": 10}}))
    assert trial(steps, "lr1e-05", 1e-5).changes["finetune"]["steps"] == 2


def test_trials_are_those_that_a_round_has_planned(
    demo: config.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    models = Models(demo, Paths("results/demo"))
    place = SimpleNamespace(method="lora", variant="lr0.02", seed="0")
    with pytest.raises(SystemExit):
        models.finetune_flags(place)
    Path("results/demo/tune").mkdir(parents=True)
    rounds = {"rates": {"full": [0.01], "lora": [0.01, 0.02]}, "done": False}
    Path("results/demo/tune/round0.json").write_text(json.dumps(rounds))
    flags = models.finetune_flags(place)
    assert flags[flags.index("--learning-rate") + 1] == "0.02"
    assert "--keep-diverged" in flags


def test_unknown_names_are_refused(demo: config.Config, table: Variants) -> None:
    names = ["mian", "k", "k7", "routing.gat-off", "layers.k-3", "only-en", "lr", "lr0.02", "general", "draw4"]
    names += ["general2", "routing.gate-foo", "awareness.estimator-tailor", "only-de-fr"]  # values that cannot be
    for name in names:
        with pytest.raises(UserError, match=rf"^{name}: "):
            table.config("landermt", name)
    with pytest.raises(UserError, match="lara: no such method; there are zero-shot"):
        table.config("lara", "main")
    with pytest.raises(UserError, match="zero-shot: trains nothing; the methods that do are full"):
        demo.finetune.method("zero-shot")


def test_every_switch_is_flipped_once(demo: config.Config) -> None:
    names = [row.name for row in switches(demo)]
    assert len(names) == len(set(names)) == 21
    assert {"routing.gate-static", "routing.gate-off", "activations.text-prompt", "finetune.scope-ffn"} <= set(names)


@pytest.mark.parametrize(
    ("stage", "method", "variant", "wanted"),
    [
        ("layers", "landermt", "main", "main"),
        ("layers", "landermt", "routing.gate-off", "main"),
        ("masks", "landermt", "routing.gate-off", "routing.gate-off"),
        ("masks", "landermt", "finetune.scope-ffn", "main"),
        ("masks", "landermt", "lr0.01", "main"),
        ("masks", "landermt", "only-en-de", "main"),
        ("neurons", "landermt-lg", "main", "main"),
        ("masks", "landermt-lg", "main", "landermt-lg+main"),
        ("masks", "landermt-lg", "ablation.untrained-absent", "landermt-lg+ablation.untrained-absent"),
        ("layers", "random", "draw2", "main"),
        ("neurons", "random", "draw2", "random+draw2"),
        ("layers", "random-layers", "main", "random-layers+main"),
        ("neurons", "landermt", "k1", "k1"),
        ("layers", "layers", "k1", "k1"),
    ],
)
def test_models_share_what_they_can(demo: config.Config, stage: str, method: str, variant: str, wanted: str) -> None:
    table = Variants(demo, 6, lambda: [trial(demo, "lr0.01", 0.01)])
    assert table.selection(stage, method, variant) == wanted


def test_a_selection_leads_back_to_its_method_and_variant(table: Variants) -> None:
    for method in MASKED:
        for variant in ("main", "routing.gate-off", "draw2"):
            back = table.selected(table.selection("masks", method, variant))
            assert table.seen_by("masks", *back) == table.seen_by("masks", method, variant)
    with pytest.raises(UserError, match="lora"):
        table.selected("lora+main")


def test_tables_of_other_readings_have_folders_of_their_own(demo: config.Config) -> None:
    models = Models(demo, Paths("results/demo"))

    def awareness(variant: str) -> str:
        return models.awareness_files(SimpleNamespace(variant=variant, seed="0"))[0]

    assert awareness("main") == "results/demo/awareness/s0/en.parquet"
    assert awareness("routing.gate-off") == awareness("main")
    assert awareness("awareness.site-pre") == "results/demo/awareness/pre/s0/en.parquet"
    scored = models.awareness_flags(SimpleNamespace(reading="pre/", language="en", seed="0"))
    assert [scored[scored.index(name) + 1] for name in ("--site", "--estimator")] == ["pre", "taylor"]
    assert scored[scored.index("--text") + 1] == "results/demo/data/s0/text/en.parquet"
    flags = models.activation_flags(SimpleNamespace(reading="prompt/"))
    assert flags[flags.index("--text") + 1] == "prompt"
    with pytest.raises(SystemExit):
        models.awareness_text(SimpleNamespace(reading="per/"))


def test_draws_and_seeds_draw_differently(demo: config.Config) -> None:
    models = Models(demo, Paths("results/demo"))
    places = product(("random+main", "random+draw2", "random+draw3"), ("0", "1"))
    drawn = {tuple(models.neuron_flags(SimpleNamespace(variant=name, seed=seed))) for name, seed in places}
    assert len(drawn) == 6


def test_every_model_of_every_experiment_can_be_configured(demo: config.Config) -> None:
    plan = Plan(demo)
    experiments, table = plan.experiments, plan.models.variants
    for name in ABOUT:
        models = experiments.models(name)
        assert len(models) == len(set(models))
        for model in models:
            if model.variant != "best-prompt":
                assert (table.config(model.method, model.variant) == demo) == (
                    table.row(model.variant).changes == MAIN.changes and model.method != "layers"
                )
    assert [m.variant for m in experiments.models("sweep_k")] == ["k0", "k1", "k2", "main", "k4", "k5", "k6"]
    assert sum(m.variant.startswith("only-") for m in experiments.models("transfer")) == 40
    assert Path(experiments.losses("readings")[0]).name == "s0.csv"
