"""`python -m lander.finetune` whose rank 0 is killed (SIGKILL) right after its checkpoint at update 4."""

import os
import runpy
import signal

from lander.finetune import checkpoint

save = checkpoint.save


def save_and_die(folder, state, update, log, fingerprint):
    save(folder, state, update, log, fingerprint)
    if update == 4 and int(os.environ.get("RANK", 0)) == 0:
        os.kill(os.getpid(), signal.SIGKILL)


checkpoint.save = save_and_die
runpy.run_module("lander.finetune", run_name="__main__", alter_sys=True)
