"""What the rules ask of a config: the plan of a run."""

import inspect
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake.scheduling.job_scheduler import JobScheduler
from snakemake.settings.types import DeploymentMethod, DeploymentSettings, MaxJobsPerTimespan, SchedulingSettings

from lander.config import config
from lander.shared.errors import UserError, run_main
from lander.workflow import Plan
from lander.workflow.plan import stop


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function that makes plans in a folder with text in four languages and a base of 3 MB."""
    for name in ("a.en", "a.de", "a.cs", "a.uk", "b.en", "b.de", "c.tsv"):
        (tmp_path / name).write_text("one\ntwo\n")
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text('{"model_type": "llama", "num_hidden_layers": 3}')
    (tmp_path / "base" / "model.safetensors").write_bytes(bytes(3_000_000))
    monkeypatch.chdir(tmp_path)

    def made(**changes: Any) -> Plan:
        four = {code: f"a.{code}" for code in ("en", "de", "cs", "uk")}
        raw = {
            "run": "r",
            "languages": ["en", "de", "cs"],
            "directions": ["en-de", "de-en", "en-cs"],
            "model": {"path": "base"},
            "layers": {"k": 1},
            "awareness": {"languages": ["en", "de", "cs", "uk"]},
            "data": {
                "train": [
                    {"name": "four", "files": four, "lines": [0, 1]},
                    {"name": "two", "files": {"en": "b.en", "de": "b.de"}, "directions": ["de-en"]},
                ],
                "dev": [{"name": "dev", "files": four, "lines": [1, 2]}],
                "test": [
                    {"name": "t", "files": four, "lines": [1, 2], "directions": ["en-de", "en-cs"]},
                    {"name": "u", "tsv": "c.tsv", "columns": ["de", "en"]},
                ],
                "exclude": [{"tsv": "c.tsv", "columns": ["de", "en"]}],
            },
        }
        return Plan(config.load(config.merge(raw, changes)))

    return made


wildcards = SimpleNamespace  # as the rules have them


def value(flags: list[str], *names: str) -> list[str | None]:
    """The value of each flag, the first of several; None for a flag that is not there."""
    return [flags[flags.index(name) + 1] if name in flags else None for name in names]


def trained(plan: Plan, method: str, variant: str = "main", seed: str = "0") -> list[str]:
    """The flags of a training."""
    return plan.models.finetune_flags(wildcards(method=method, variant=variant, seed=seed))


def names(sources: str) -> list[str]:
    return [source["name"] for source in json.loads(sources)]


def test_sources_and_files_of_a_pair_and_of_test_sets(make) -> None:
    plan = make()
    assert names(plan.texts.sources(wildcards(pair="de-en"))) == ["four", "two"]
    assert names(plan.texts.sources(wildcards(pair="cs-en"))) == ["four"]
    assert sorted(plan.texts.files(wildcards(pair="de-en"))) == ["a.de", "a.en", "b.de", "b.en"]
    assert sorted(plan.texts.files(wildcards(pair="cs-en"))) == ["a.cs", "a.en"]
    assert json.loads(plan.texts.origins(wildcards(direction="en-de"))) == ["four"]
    assert json.loads(plan.texts.origins(wildcards(direction="de-en"))) == ["four", "two"]
    assert plan.texts.excluded_files(wildcards()) == ["c.tsv"]
    assert plan.texts.cleaned(wildcards(direction="en-cs"))["table"] == "results/r/data/clean/cs-en.parquet"
    assert plan.tested.items == ["t/en-de", "t/en-cs", "u/en-de", "u/de-en"]
    assert plan.tested.flags[0] == "t:en-de:results/r/data/test/t/en-de.parquet"
    assert names(plan.texts.sources(wildcards(test="u", direction="de-en"))) == ["u"]
    assert plan.texts.files(wildcards(test="t", direction="en-cs")) == ["a.en", "a.cs"]


def test_scoring_and_pretraining_read_the_contrast_languages_too(make) -> None:
    plan = make()
    assert set(plan.texts.scoring_files(wildcards())) >= {"a.en", "a.de", "a.cs", "a.uk"}
    [pretraining] = value(plan.models.pretrain_flags, "--languages")
    [prompts] = value(plan.models.prompted_flags, "--languages")
    assert json.loads(prompts) == {"en": "English", "de": "German", "cs": "Czech"}
    assert json.loads(pretraining) == json.loads(prompts) | {"uk": "Ukrainian"}


def test_flags_of_methods(make) -> None:
    plan = make(finetune={"lora": {"rank": 4, "targets": ["up_proj"]}})
    full, lora, landermt = (trained(plan, method) for method in ("full", "lora", "landermt"))
    assert not {"--lora-rank", "--masks", "--scope", "--budget-layers", "--steps"} & set(full)
    assert value(full, "--epochs") == ["1"]
    assert value(lora, "--lora-rank", "--lora-alpha", "--lora-targets") == ["4", "32", "up_proj"]
    assert value(landermt, "--masks") == ["results/r/masks/main/s0"]
    place = {"variant": "main", "seed": "0"}
    assert plan.models.mask_files(wildcards(method="lora", **place)) == []
    assert plan.models.mask_files(wildcards(method="landermt", **place))[0] == "results/r/masks/main/s0/en-de.parquet"
    assert value(trained(make(finetune={"steps": 5}), "full"), "--steps", "--epochs") == ["5", None]


def test_a_sample_of_ablated_neurons_is_compared_and_not_trained(make) -> None:
    place = wildcards(
        language="en", reading="ablation/", variant="awareness.estimator-ablation", method="landermt", seed="0"
    )
    for neurons, trained in ((None, True), (2, False)):
        plan = make(awareness={"neurons": neurons}, experiments={"estimators": ["taylor", "ablation"]})
        flags = plan.models.awareness_flags(place)
        assert value(flags, "--estimator") == ["ablation"]
        assert ("--neurons" in flags) != trained
        given = " ".join(plan.experiments.estimator_flags)
        assert "ablation=results/r/awareness/ablation/s0" in given
        assert ("ablation=results/r/awareness_parts/ablation/s0" in given) == trained
        assert ("neurons/awareness.estimator-ablation" in given) == trained
        models = {model.variant for model in plan.experiments.models("estimators")}
        assert ("awareness.estimator-ablation" in models) == trained


def test_experiments_that_a_config_cannot_have_are_refused_when_asked_for(make, capsys) -> None:
    plan = make(experiments={"untrained": []})
    assert plan.experiments.refusal("table1") is None
    assert plan.experiments.refused("table1")(wildcards()) == []
    assert make(directions=["en-de"]).experiments.refusal("forgetting") is None
    with pytest.raises(SystemExit):
        plan.experiments.refused("forgetting")(wildcards())
    assert capsys.readouterr().err.splitlines()[-1].startswith("lander: error: experiments.untrained: ")


def test_an_experiment_among_others_is_left_out_with_the_reason(make, capsys) -> None:
    plan = make(experiments={"untrained": []})
    settings = SimpleNamespace(targets={"forgetting", "table1"})
    asked = SimpleNamespace(dag_settings=settings, main_snakefile="a.en")
    assert plan.target("table1", asked)(wildcards()) == "results/r/experiments/table1.csv"
    assert Path(plan.target("forgetting", asked)(wildcards())).is_file()
    assert list(plan.left_out) == ["forgetting"]
    plan.end(done=False)
    assert capsys.readouterr().err.count("experiments.untrained") == 2
    alone = SimpleNamespace(dag_settings=SimpleNamespace(targets={"forgetting"}))
    with pytest.raises(SystemExit):
        plan.target("forgetting", alone)(wildcards())


def test_forgetting_says_which_text_it_is_measured_on(make) -> None:
    web = [{"name": "web", "files": {"en": "a.en", "de": "a.de", "cs": "a.cs"}}]
    for text, said in ((None, "the sides of data.dev"), (web, "(web)")):
        assert said in value(make(experiments={"text": text}).experiments.flags("forgetting"), "--text")[0]


def test_sizes_of_what_is_added_follow_the_chosen_layers(make) -> None:
    plan = make(layers={"k": 2})
    assert value(trained(plan, "adapter"), "--budget-layers", "--bottleneck") == ["2", None]
    matched = value(trained(plan, "lora-matched"), "--lora-alpha", "--scope", "--budget-layers")
    assert matched == ["32", "layer", "2"]
    wide = trained(make(finetune={"adapter": {"bottleneck": 9}}), "adapter-lora")
    assert value(wide, "--bottleneck", "--lora-rank", "--lora-alpha") == ["9", "16", "32"]


def test_the_users_masks_replace_detection(make) -> None:
    Path("mine").mkdir()
    Path("mine/en-de.parquet").touch()
    plan = make(neurons={"masks": "mine"})
    place = {"method": "landermt", "variant": "main", "seed": "0"}
    assert plan.models.mask_files(wildcards(**place)) == ["mine/en-de.parquet"]
    assert value(trained(plan, "landermt"), "--masks") == ["mine"]
    assert not plan.detects
    drawn = {"method": "random", "variant": "draw2", "seed": "3"}
    assert plan.models.mask_files(wildcards(**drawn)) == ["results/r/masks/given/draw2/s3/en-de.parquet"]
    assert value(trained(plan, **drawn), "--masks") == ["results/r/masks/given/draw2/s3"]
    layers = {"method": "random-layers", "variant": "main", "seed": "0"}
    assert plan.models.mask_files(wildcards(**layers))[0] == "results/r/masks/random-layers+main/s0/en-de.parquet"
    assert plan.experiments.refusal("table1") is None
    assert plan.experiments.refusal("sweep_k").startswith("neurons.masks: sweep_k")
    assert make().experiments.refusal("sweep_k") is None
    assert not {"layers", "neurons", "awareness"} & set(plan.report_files(wildcards()))


def test_the_bases_prompts_are_chosen_on_dev_sets_that_there_are(make) -> None:
    files = {code: f"a.{code}" for code in ("en", "de", "cs")}
    test = [{"name": "t", "files": files, "lines": [1, 2]}]
    served = make(data={"test": test}, experiments={"untrained": ["de-cs"]}).untrained
    assert (served.items, served.dev, served.record) == (["t/de-cs"], ["de-cs"], "untrained.json")
    dev = [{"files": files, "lines": [1, 2], "directions": ["en-de", "de-en", "en-cs", "de-cs"]}]
    pinned = make(data={"test": test, "dev": dev}, experiments={"untrained": ["de-cs", "cs-de"]})
    assert pinned.untrained.dev == ["de-cs", "en-de", "de-en", "en-cs"]
    assert pinned.tested.dev == ["en-de", "de-en", "en-cs"]


def test_models_and_seeds(make) -> None:
    plan = make(methods=["zero-shot", "lora"], seeds=[3, 5])
    names = ["zero-shot/main/s3", "zero-shot/best-prompt/s3", "lora/main/s3", "lora/main/s5"]
    assert [str(model) for model in plan.compared] == names
    assert [str(model) for model in make(methods=["full"]).compared] == ["full/main/s0"]


LORA = {"counts", "dropped", "train", "loss", "runs"}


@pytest.mark.parametrize(
    ("method", "wanted"),
    [("zero-shot", {"prompts"}), ("lora", LORA), ("landermt", LORA | {"layers", "neurons", "awareness"})],
)
def test_the_report_shows_what_there_is(make, method: str, wanted: set[str]) -> None:
    plan = make(methods=[method])
    files = plan.report_files(wildcards())
    assert set(files) == wanted | {"translations", "flags", "significance"}
    flags = plan.report_flags(wildcards())
    given = {flag for flag in flags if flag.startswith("--")} - {"--awareness-languages"}
    assert given == {f"--{key}" for key in (*files, "benchmarks", "code")}
    assert f"{method}/main/s0=results/r/translate/{method}/main/s0" in flags
    assert (f"{method}/main/s0=results/r/finetune/{method}/main/s0/loss.csv" in flags) == ("loss" in wanted)


def test_the_base(make) -> None:
    plan = make()
    assert plan.models.model_files(None) == ["base/config.json", "base/model.safetensors"]
    assert plan.models.model == "base"
    assert plan.models.memory(2) - plan.models.memory(0) == 6
    scratch = make(model={"path": "pretrain"})
    assert scratch.models.model == "results/r/pretrain"
    assert "results/r/pretrain/model.safetensors" in scratch.models.model_files(None)
    hub = make(model={"path": "owner/name", "revision": "v1"})
    assert hub.models.model_files(None) == []
    assert value(hub.models.plain_flags, "--revision") == ["v1"]
    assert hub.models.memory(1) > 10_000


def test_the_hub_is_asked_only_where_it_is_needed(make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"PATH": "/bin"})
    remote = [{"hf": "owner/name", "config": "de-en"}]
    scratch = {"model": {"path": "pretrain"}, "pretrain": {"text": remote}}
    for changes in ({"model": {"path": "owner/name"}}, {"data": {"exclude": remote}}, scratch):
        make(**changes).set_environment()
        assert "HF_HUB_OFFLINE" not in os.environ
    make().set_environment()
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_what_changes_no_result_is_no_parameter(make, capsys) -> None:
    """Snakemake does not compare parameters that are functions of `resources`."""
    models = make(finetune={"ranks": 3}).models
    assert models.launcher(None, resources={}) == "python -m lander.shared.gpus 3 torchrun --nproc_per_node 3"
    assert make().models.launcher(None, resources={}) == "python"
    with pytest.raises(SystemExit):
        models.launcher(None, resources={"nodes": 2})
    assert capsys.readouterr().err.splitlines()[-1].startswith("lander: error: finetune.ranks: 3 ")
    across = models.launcher(None, resources={"nodes": 3})
    assert across.startswith("srun --nodes=3 --ntasks=3 --ntasks-per-node=1")
    assert "torchrun --nnodes 3 --nproc_per_node 1 " in across
    machine = ["--zero-stage", "0", "--no-recompute", "--checkpoint-minutes", "5", "--report-to"]
    assert models.machine_flags(None, resources=None) == machine


def test_errors_of_jobs_are_shown_once_more(make, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make()
    monkeypatch.setenv("LANDER_ERRORS", str(plan.errors))
    plan.errors.parent.mkdir(parents=True)

    def stage() -> None:
        raise UserError("a is empty")

    for _ in range(2):  # each rank of a training writes its line
        with pytest.raises(SystemExit):
            run_main(stage, "data")
    capsys.readouterr()
    plan.end(done=False)
    assert capsys.readouterr().err == "lander data: error: a is empty\n"
    plan.begin(SimpleNamespace(scheduling_settings=SchedulingSettings(), deployment_settings=DeploymentSettings()))
    plan.end(done=False)
    assert capsys.readouterr().err == ""


def test_sigint_reaches_the_stages_and_nothing_else(monkeypatch, tmp_path) -> None:
    """Snakemake does not pass it on to them, torchrun (whose ranks are stages) would not wait for them."""
    waits = "try: print('here', flush=True); input()\nexcept KeyboardInterrupt: raise SystemExit(130)"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    (tmp_path / "torchrun").write_text(waits)
    others = [[str(tmp_path / "torchrun"), "-m", "lander.finetune"], ["-c", waits, "-c", "lander.finetune"]]
    stages = [["-c", waits, "-m", "lander.finetune"], ["-c", waits, "-u", "-m", "lander.data", "clean"]]
    started = [subprocess.Popen([sys.executable, *words], **pipes) for words in stages + others]
    assert [process.stdout.readline() for process in started] == ["here\n"] * 4
    monkeypatch.setattr(threading, "Timer", lambda _seconds, call: SimpleNamespace(start=call))
    with pytest.raises(KeyboardInterrupt):
        stop()
    assert [process.wait(timeout=60) for process in started[:2]] == [130, 130]
    for process in started:
        process.communicate("")
    assert [process.returncode for process in started[2:]] == [1, 1]  # the end of their input, no signal


def test_the_usual_limit_on_starts_of_jobs_is_lifted(make) -> None:
    for limit, lifted in ((MaxJobsPerTimespan(100, "1s"), True), (MaxJobsPerTimespan(5, "1m"), False)):
        scheduler = SimpleNamespace(job_rate_limiter=limit)
        settings = SchedulingSettings(max_jobs_per_timespan=limit)
        workflow = {"scheduling_settings": settings, "deployment_settings": DeploymentSettings()}
        make().begin(SimpleNamespace(**workflow, scheduler=scheduler))
        assert (scheduler.job_rate_limiter is None) == lifted
    assert "self.job_rate_limiter is None" in inspect.getsource(JobScheduler)  # what makes it possible


def test_an_image_that_is_asked_for_must_be_there(make, capsys) -> None:
    deployed = DeploymentSettings(deployment_method={DeploymentMethod.APPTAINER})
    workflow = SimpleNamespace(scheduling_settings=SchedulingSettings(), deployment_settings=deployed)
    with pytest.raises(SystemExit):
        make().begin(workflow)
    assert "error: lander.sif: no such file" in capsys.readouterr().err
