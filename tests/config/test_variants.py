"""Variants: what a name changes, and which models share their tables."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from lander.config import config, variants
from lander.config.methods import MASKED
from lander.config.readings import READINGS
from lander.config.variants import configure, selected, selection
from lander.shared.errors import UserError
from lander.workflow.experiments import Experiments
from lander.workflow.models import Models


@pytest.fixture(scope="module")
def demo() -> config.Config:
    return config.read()


def test_main_is_the_config_itself(demo: config.Config) -> None:
    assert configure(demo, "main") == demo
    assert configure(demo, "draw2", "random") == demo


def test_single_keys(demo: config.Config) -> None:
    assert configure(demo, "k5").layers.k == 5
    assert configure(demo, "general0.5").neurons.general_share == 0.5
    off = configure(demo, "routing.gate-off")
    assert (off.routing.gate, off.routing.share) == ("off", demo.routing.share)
    assert configure(demo, "awareness.estimator-taylor_squared").awareness.estimator == "taylor_squared"


def test_paper_is_the_literal_column(demo: config.Config) -> None:
    paper = configure(demo, "paper")
    for section, keys in READINGS["paper"].items():
        for key, value in keys.items():
            assert getattr(getattr(paper, section), key) == value
    assert paper == config.load(config.merge(config.effective(demo), {"workflow": {}, **_plain("paper")}))


def _plain(name: str) -> dict:
    return {"readings": "repaired", **READINGS[name]}


def test_one_direction_is_trained_with_a_micro_batch_of_its_own_per_update(demo: config.Config) -> None:
    only = configure(demo, "only-en-de")
    assert [str(direction) for direction in only.directions] == ["en-de"]
    assert (demo.finetune.accumulate, only.finetune.accumulate) == (10, 1)


def test_a_trial_is_shorter_at_its_own_rate_for_every_method(demo: config.Config) -> None:
    trial = configure(demo, "lr0.02")
    assert trial.finetune.epochs == demo.finetune.epochs / 4
    assert {trial.finetune.method(name).learning_rate for name in config.trained(demo)} == {0.02}
    assert trial.finetune.method("lora").rank == demo.finetune.method("lora").rank
    steps = config.load(config.merge(config.effective(demo), {"workflow": {}, "finetune": {"steps": 10}}))
    assert configure(steps, "lr1e-05").finetune.steps == 2


@pytest.mark.parametrize(
    "name",
    [
        *["mian", "k", "routing.gat-off", "layers.k-3", "only-en", "lr", "general"],
        *["general2", "routing.gate-foo", "awareness.estimator-tailor", "lr0", "only-de-fr"],  # values that cannot be
    ],
)
def test_unknown_names_are_refused(demo: config.Config, name: str) -> None:
    with pytest.raises(UserError):
        configure(demo, name)


def test_unknown_methods_are_refused(demo: config.Config) -> None:
    with pytest.raises(UserError, match="lara: no such method; there are zero-shot"):
        configure(demo, "main", "lara")
    with pytest.raises(UserError, match="zero-shot: trains nothing; the methods that do are full"):
        demo.finetune.method("zero-shot")


def test_every_switch_is_flipped_once(demo: config.Config) -> None:
    names = variants.switches(demo)
    assert len(names) == len(set(names)) == 15
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
    assert selection(demo, stage, method, variant) == wanted


def test_a_selection_leads_back_to_its_method_and_variant(demo: config.Config) -> None:
    for method in MASKED:
        for variant in ("main", "routing.gate-off", "draw2"):
            name = selection(demo, "masks", method, variant)
            back = selected(name)
            assert variants.seen_by(demo, "masks", *back) == variants.seen_by(demo, "masks", method, variant)


def test_tables_of_other_readings_have_folders_of_their_own(demo: config.Config) -> None:
    models = Models(demo)

    def awareness(variant: str) -> str:
        return models.awareness_files(SimpleNamespace(variant=variant, seed="0"))[0]

    assert awareness("main") == "<results>/awareness/s0/en.parquet"
    assert awareness("routing.gate-off") == awareness("main")
    assert awareness("awareness.site-pre") == "<results>/awareness/pre/s0/en.parquet"
    scored = models.scores_of(SimpleNamespace(reading="pre/"))
    assert (scored.site, scored.text, scored.estimator) == ("pre", "monolingual", "taylor")
    assert models.scores_of(SimpleNamespace(reading="")) == demo.awareness


def test_draws_and_seeds_draw_differently(demo: config.Config) -> None:
    models = Models(demo)
    drawn = {
        models.draw_seed(SimpleNamespace(variant=name, seed=seed))
        for name in ("random+main", "random+draw2", "random+draw3")
        for seed in ("0", "1")
    }
    assert len(drawn) == 6


def test_every_model_of_every_experiment_can_be_configured(demo: config.Config) -> None:
    experiments = Experiments(demo, 6)
    for name in experiments.compared:
        models = experiments.models(name)
        assert len(models) == len(set(models))
        for model in models:
            if model.variant != "best-prompt":
                configure(demo, model.variant, model.method)
    assert [m.variant for m in experiments.models("sweep_k")] == ["k0", "k1", "k2", "main", "k4", "k5", "k6"]
    assert sum(m.variant.startswith("only-") for m in experiments.models("transfer")) == 40
    assert Path(experiments.losses("readings")[0]).name == "s0.csv"
