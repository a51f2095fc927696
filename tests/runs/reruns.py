"""What each change reruns: the table of `test_reruns.py`.

A row says what a key is changed to and the jobs that are thereby run again *of themselves*; what follows from them runs
too, by the plan. A job is written as its rule and its wildcards (`finetune method=lora variant=main seed=0`), in a row
as a pattern of it: `finetune` is every job of the rule, `finetune method=lora` every one that begins so.
"""

from typing import Any

from lander.config.methods import MASKED, METHODS, TRAINED

LANGUAGES = ("de", "en", "fr")


def files(name: str) -> dict[str, str]:
    """The files of a multi-parallel text."""
    return {code: f"{name}.{code}" for code in LANGUAGES}


def train(stop: int) -> dict[str, Any]:
    """The training text's first lines."""
    return {"name": "text", "files": files("train"), "lines": [0, stop]}


BASE: dict[str, Any] = {
    "run": "r",
    "languages": list(LANGUAGES),
    "directions": ["en-de", "de-en", "en-fr"],
    "methods": list(METHODS),
    "model": {"path": "base"},
    "data": {
        "train": [train(3)],
        "dev": [{"name": "dev", "files": files("dev")}],
        "test": [{"name": "news", "files": files("test")}],
        "exclude": [],
    },
    "layers": {"k": 1},
    "awareness": {"data": [{"name": "scoring", "files": files("scoring") | {"it": "scoring.it"}}]},
    "finetune": {"steps": 4},
    "experiments": {"sweep_k": [1, 2], "untrained": ["fr-en"]},
}
TARGETS = ["all", "sweep_k", "clusters", "figures_layers", "figures_awareness"]  # losses too, and analyses
SCRATCH: dict[str, Any] = {"run": "p", "model": {"path": "pretrain"}, "methods": ["zero-shot"]}  # over BASE

GATED_TRAININGS = [f"finetune method={name} " for name in MASKED if name != "layers"]
MASKED_TRAININGS = ["finetune method=layers ", *GATED_TRAININGS]
BASE_READERS = ["activations", "awareness", "finetune", "translate", "best_prompt", "loss", "clusters"]
PROMPTED = ["activations", "finetune", "translate", "best_prompt", "loss"]
UNTRAINED_DECODERS = ["translate method=zero-shot", "translate method=in-context", "best_prompt"]
DECODERS = ["translate", "best_prompt"]
GROUPED = ["neurons variant=main", "neurons variant=random", "neurons variant=k2"]
GROUPED_MASKS = ["masks variant=main", "masks variant=landermt-l", "masks variant=random", "masks variant=k2"]
COMET = {"name": "comet", "model": "base/model.safetensors", "command": ["true"], "signature": "s"}
EXPERIMENT = ["experiment_sweep_k"]  # its title has the base's name and the text's
CLEANING = ["clean", "sample"]
SIZED = ["finetune method=adapter", "finetune method=lora-matched"]  # as the chosen layers are

KEYS: dict[str, tuple[Any, list[str]]] = {
    "run": ("other", ["*"]),
    "languages": ({"en": "English", "de": "Deutsch", "fr": "French"}, PROMPTED),
    "directions": (
        ["de-en", "en-de", "en-fr"],  # the order counts: of sums over directions, and of turns in training
        ["layers", "masks", "finetune", *DECODERS, "loss", "score", *EXPERIMENT],
    ),
    "methods": (["zero-shot", "full", "landermt"], ["scores", "significance", "report"]),
    "external": ({"nllb": "outside"}, ["external", "score method=nllb", "scores", "significance", "report"]),
    "seeds": ([0, 1], ["scores", "significance", "report", "* seed=1*"]),
    "threads": (2, BASE_READERS),
    "readings": ("paper", ["activations", "layers", "neurons", "masks", *MASKED_TRAININGS, "score"]),
    "model.path": ("base2", [*BASE_READERS, *EXPERIMENT]),
    "model.revision": ("v1", [*BASE_READERS]),
    "model.dtype": ("float32", BASE_READERS),
    "model.prompt": ("auto", ["activations", "awareness", "finetune", *UNTRAINED_DECODERS]),
    "data.train": ([train(2)], ["clean"]),
    "data.dev": ([{"name": "dev", "files": files("dev"), "lines": [0, 1]}], ["dev", "kept"]),
    "data.test": ([{"name": "news", "files": files("test"), "lines": [0, 1]}], ["test"]),
    "data.exclude": ([{"name": "test", "files": files("test")}], ["clean"]),
    "data.max_pairs": (2, ["sample"]),
    "data.templates": ("my-templates.yaml", ["sample", *(name for name in BASE_READERS if name != "clusters")]),
    "data.cleaning.order": (["empty", "duplicates"], CLEANING),
    "data.cleaning.max_line": (50, CLEANING),
    "data.cleaning.candidates": (["de", "en"], CLEANING),
    "data.cleaning.languages": ({"de": {"length": {"max": 30}}}, CLEANING),
    "activations.text": ("prompt", ["activations"]),
    "activations.sentences": (10, ["activations"]),
    "activations.batch_size": (4, ["activations"]),
    "layers.k": (2, ["layers", "* variant=k1 *", *SIZED, *EXPERIMENT]),
    "layers.difference": ("scalar", ["layers"]),
    "layers.side": ("lower", ["layers"]),
    "layers.selection": ("per_direction", ["layers"]),
    "awareness.languages": (["de", "en", "fr", "it"], ["text", "awareness", "neurons", "masks"]),
    "awareness.data": ([train(3)], ["text"]),
    "awareness.sentences": (10, ["text", "kept"]),
    "awareness.batch_size": (4, ["awareness"]),
    "awareness.estimator": ("summed", ["awareness", "neurons"]),
    "awareness.site": ("pre", ["awareness"]),
    "awareness.text": ("translation", ["awareness"]),
    "neurons.general_share": (0.5, GROUPED),
    "neurons.unactivated": (0.1, ["neurons"]),
    "neurons.unactivated_role": ("absent", GROUPED_MASKS),
    "neurons.masks": ("mine", ["finetune method=landermt ", "permuted_masks"]),
    "neurons.normalize": ("none", ["neurons", "masks"]),
    "neurons.threshold": ("literal", GROUPED),
    "neurons.statistic": ("variance", ["neurons"]),
    "neurons.trained_share": (0.2, ["neurons"]),
    "neurons.pick": ("least", ["neurons"]),
    "routing.share": ("literal", ["masks"]),
    "routing.others": ("absent", ["masks"]),
    "routing.start": ("car", ["masks"]),
    "routing.pool": ("mean", ["masks"]),
    "routing.scale": ("input", MASKED_TRAININGS),
    "routing.noise": (0.5, MASKED_TRAININGS),
    "routing.gate": ("static", [*GROUPED_MASKS, *GATED_TRAININGS]),
    "finetune.scope": ("ffn", [*MASKED_TRAININGS, "finetune method=lora-matched"]),
    "finetune.lora.rank": (4, ["finetune method=lora "]),
    "finetune.lora.alpha": (4, ["finetune method=lora "]),
    "finetune.lora.targets": (["dense"], ["finetune method=lora "]),
    "finetune.adapter.bottleneck": (4, ["finetune method=adapter"]),
    "finetune.adapter-lora.rank": (4, ["finetune method=adapter-lora"]),
    "finetune.adapter-lora.alpha": (4, ["finetune method=adapter-lora"]),
    "finetune.lora-matched.alpha": (4, ["finetune method=lora-matched"]),
    "ablation.untrained": ("absent", ["masks variant=landermt-l"]),
    "translate.template": ("labels", [*DECODERS, "loss"]),
    "translate.beams": (2, DECODERS),
    "translate.max_new_tokens": (5, DECODERS),
    "translate.batch_size": (4, [*DECODERS, "loss"]),
    "translate.dev_sentences": (2, ["best_prompt"]),
    "translate.shots": (2, ["translate method=in-context"]),
    "evaluate.baselines": (["full"], ["significance"]),
    "evaluate.metrics": (["bleu_13a"], ["score"]),
    "evaluate.neural": ([COMET], ["neural", "scores", "significance"]),
    "experiments.sweep_k": ([1], ["experiment_sweep_k"]),
    "experiments.untrained": (["fr-en", "de-fr"], ["test * direction=de-fr", "loss method=landermt variant=main"]),
    "experiments.text": ([train(2)], ["kept"]),
}


def rows(changes: dict[str, dict[str, Any]], roots: list[str], above: str = "") -> dict[str, tuple[Any, list[str]]]:
    """Rows of keys that rerun the same jobs; `changes`: section -> key -> what it is changed to."""
    return {f"{above}{name}.{key}": (value, roots) for name, keys in changes.items() for key, value in keys.items()}


IDLE = {  # keys that rerun nothing; finetune.steps wins over finetune.epochs
    "awareness": {"neurons": 3},  # of the estimator ablation alone
    "finetune": {"epochs": 2, "zero_stage": 2, "recompute": True, "ranks": 3, "checkpoint_minutes": 3, "report_to": []},
    "experiments": {
        **{
            "draws": 1,
            "sweep_epsilon": [0.5],
            "sweep_trained": [0.5],
            "transfer": ["full"],
            "mixes": [0.5],
            "estimators": ["taylor"],
        },
        **{"tune_share": 0.5, "tune_factor": 3},
    },
    "workflow": {"code_triggers": False},
}
TRAINING = {
    **{
        "steps": 5,
        "batch_size": 4,
        "mix_directions": True,
        "accumulate": 4,
        "learning_rate": 0.1,
        "schedule": "cosine",
        "warmup": 1,
    },
    **{"weight_decay": 0.1, "clip": 0.5, "max_length": 64, "precision": "float32"},
}
PRETRAIN = {  # these rerun nothing of a run with a base of the user's
    **{"text": [train(2)], "parallel": [train(2)], "tokens": 1000, "d_model": 64, "n_layer": 3, "n_head": 2, "seed": 1},
    **{"vocabulary": 500, "context": 64, "bilingual": 0.5, "batch_tokens": 1024, "learning_rate": 0.001},
}
THRESHOLDS = {  # data.cleaning.default.<step>.<threshold>
    "repair": {"form": "NFKC", "encoding": False},
    "length": {"unit": "characters", "min": 2, "max": 100},
    "length_ratio": {"weight": 2.0, "slack": 5, "max": 2.0},
    "long_word": {"max": 30},
    "markup": {"max": 1, "links": "any"},
    "alphabet": {"letters": 0.5, "script": 0.5},
    "numbers": {"max": 0.5},
    "copied": {"letters": 10},
    "language": {"letters": 10, "probability": 0.5},
    "near_excluded": {"similarity": 0.7},
    "duplicates": {"pair": False, "source": True, "target": True},
}
KEYS |= rows(IDLE, []) | rows({"pretrain": PRETRAIN}, []) | rows({"finetune": TRAINING}, ["finetune"])
KEYS |= rows(THRESHOLDS, CLEANING, "data.cleaning.default.")
KEYS |= {f"finetune.{name}.learning_rate": (0.3, [f"finetune method={name} "]) for name in TRAINED}
UNRECORDED = ("workflow.code_triggers",)  # results/<run>/config.yaml has every other key
SCRATCH_KEYS = {f"pretrain.{name}": value for name, value in PRETRAIN.items()}

CODE = {  # a module of each stage, and the jobs that it is the code of
    "lander/data/cleaning.py": ["clean", "sample", "counts", "dev", "test", "kept", "text"],
    "lander/detect/activations.py": ["activations"],
    "lander/detect/layers.py": ["layers"],
    "lander/detect/estimators.py": ["awareness"],
    "lander/detect/neurons.py": ["neurons", "masks"],  # masks read scores as neurons do
    "lander/detect/masks.py": ["masks"],
    "lander/finetune/trainer.py": ["finetune"],
    "lander/translate/__main__.py": [*DECODERS, "loss"],  # both read test sets
    "lander/translate/loss.py": ["loss"],
    "lander/evaluate/metrics.py": ["score", "scores", "figures_layers", "figures_awareness"],  # their labels
    "lander/evaluate/contamination.py": ["seen", "score", "scores", *DECODERS, "loss"],  # decoding draws examples
    "lander/evaluate/resampling.py": ["significance", "score", "scores"],
    "lander/experiments/varied.py": ["experiment_sweep_k"],
    "lander/experiments/clusters.py": ["clusters"],
    "lander/experiments/figures.py": ["figures_layers", "figures_awareness"],
    "lander/report/page.py": ["report"],
    "lander/finetune/mix.py": [],
    "lander/workflow/plan.py": [],
}
INPUTS = {
    "train.en": ["clean"],
    "train.fr": ["clean pair=en-fr"],
    "dev.de": ["dev direction=en-de", "dev direction=de-en", "kept language=de"],
    "scoring.fr": ["text"],
    "test.de": ["test test=news direction=en-de", "test test=news direction=de-en"],
    "test.fr": ["test test=news direction=en-fr", "test test=news direction=fr-en"],
    "base/model.safetensors": BASE_READERS,
    "lander/data/templates.yaml": ["sample", *(name for name in BASE_READERS if name != "clusters")],
}
