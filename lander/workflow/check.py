"""`lander check`: what a run with a config would do, and what it sets otherwise than the defaults."""

import json
from collections.abc import Sequence
from pathlib import Path

from lander.config import config


def summary(files: Sequence[Path]) -> str:
    """What config files say together. UserError for anything wrong in them, the base or the targets of LoRA."""
    raw = config.merged(*files)
    settings = config.load(raw)
    base = settings.base
    if base.folder:
        from lander.models import loading

        loading.check(str(base.folder), prompt=settings.model.prompt)
    if settings.finetune.lora.targets and "lora" in settings.methods and base.kind != "hub":
        from lander.workflow.planning import networks

        networks.made_ready(settings, "lora", networks.make_network(networks.read_config(settings)))  # are they there?
    layers = "" if base.n_layer is None else f", {base.n_layer} layers"
    rates = (f"{method} {settings.finetune.method(method).learning_rate:g}" for method in config.trained(settings))
    length = f"{settings.finetune.steps} updates" if settings.finetune.steps else f"{settings.finetune.epochs:g} epochs"
    contrast = (code for code in settings.awareness.languages if code not in settings.languages)
    tests = (f"{name} ({len(served)} directions)" for name, served in settings.tested(settings.directions).items())
    each = settings.finetune.together(len(settings.directions))
    rows = {
        "run": f"{settings.run}, to results/{settings.run}/",
        "model": f"{settings.model.path} ({'local folder' if base.kind == 'local' else base.kind}{layers})",
        "languages": ", ".join(f"{code} {name}" for code, name in settings.languages.items()),
        "contrast": ", ".join(contrast) or "none",
        "directions": " ".join(map(str, settings.directions)),
        "methods": " ".join((*settings.methods, *settings.external)),
        "seeds": " ".join(map(str, settings.seeds)),
        "training": f"{', '.join(source.name for source in settings.data.train)}; {length} of "
        f"{settings.finetune.batch_size * each} x {settings.finetune.accumulate} pairs an update",
        "learning rate": ", ".join(rates) or "none",
        "tests": ", ".join(tests),
        "readings": ", ".join([settings.readings, *config.other_readings(settings)]),
    }
    lines = [f"{key:14} {value}" for key, value in rows.items()]
    if differ := config.differences(raw):
        lines += ["", "other than the defaults (config/defaults.yaml):"]
    for key, pair in differ.items():
        value, default = (json.dumps(one, ensure_ascii=False, default=str) for one in pair)
        lines.append(f"  {key}: {value} (default: {default})")
    return "\n".join(lines)
