"""`python -m lander.finetune` in which something moves a frozen weight in the middle of the training."""

import runpy

from lander.finetune import trainer

update = trainer.Trainer.update


def meddle(self, number):
    rows = update(self, number)
    self.prepared.network.transformer.ln_f.weight.data[0] += 1e-6
    return rows


trainer.Trainer.update = meddle
runpy.run_module("lander.finetune", run_name="__main__", alter_sys=True)
