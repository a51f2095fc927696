"""`python -m lander.finetune` that keeps what a run normally does not write, in a folder `<out>-kept`.

<update>/           its checkpoint
<rank>.safetensors  what that process has in the end of each parameter that is not trained
<rank>.json         how many numbers its optimizer steps, and their types
"""

import json
import runpy
import shutil
import sys
from pathlib import Path

import torch.distributed as dist
from safetensors.torch import save_file

from lander.finetune import checkpoint, frozen, trainer
from lander.finetune.engine import Engine, gathered

KEPT = Path(sys.argv[sys.argv.index("--out") + 1] + "-kept")
save, check = checkpoint.save, frozen.check
optimizers = []


class Kept(Engine):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        optimizers.append(self.optimizer)


def save_and_keep(folder, state, update, *rest):
    save(folder, state, update, *rest)
    if dist.get_rank() == 0:
        shutil.copytree(folder / f"update-{update:08d}", KEPT / str(update))


def check_and_keep(network, before):
    check(network, before)
    KEPT.mkdir(exist_ok=True)
    weights = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            with gathered(parameter):
                weights[name] = parameter.detach().cpu().clone()
    save_file(weights, KEPT / f"{dist.get_rank()}.safetensors")
    masters = list(optimizers[0].state)  # ZeRO puts its parts in the parameters' place
    facts = {"masters": sum(p.numel() for p in masters), "types": sorted({str(p.dtype) for p in masters})}
    (KEPT / f"{dist.get_rank()}.json").write_text(json.dumps(facts))


checkpoint.save, frozen.check, trainer.Engine = save_and_keep, check_and_keep, Kept
runpy.run_module("lander.finetune", run_name="__main__", alter_sys=True)
