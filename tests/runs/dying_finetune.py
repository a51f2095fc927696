"""`python -m lander.finetune` of which a process is killed (SIGKILL), where the first argument says.

checkpoint  after that of update 4
writing     while that of update 4 is written: half of a file of three
removing    while the one before it is removed
window      between the two micro-batches of update 5 (with two ranks the second one dies, before its only one)

SIGINT and SIGTERM are sent in the second micro-batch of update 2; the process may react to them.
"""

import os
import runpy
import shutil
import signal
import sys
from pathlib import Path

import safetensors.torch

PLACE = sys.argv.pop(1)
save_file, rmtree = safetensors.torch.save_file, shutil.rmtree


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def write_and_die(tensors, path, *rest, **options):
    save_file(tensors, path, *rest, **options)
    if "update-00000004" in str(path) and Path(path).name.startswith("exp_avg."):
        os.truncate(path, os.path.getsize(path) // 2)
        die()


def remove_and_die(path, *rest, **options):
    if Path(path).name == "update-00000003":
        (Path(path) / "weights.safetensors").unlink()
        die()
    rmtree(path, *rest, **options)


if PLACE == "writing":
    safetensors.torch.save_file = write_and_die
if PLACE == "removing":
    shutil.rmtree = remove_and_die

from lander.finetune import checkpoint, trainer  # noqa: E402 - they import what is replaced above

save, micro_batch = checkpoint.save, trainer.Trainer.micro_batch


def save_and_die(folder, state, update, *rest):
    save(folder, state, update, *rest)
    if update == 4 and int(os.environ.get("RANK", 0)) == 0:
        die()


def begin_and_die(self, number, routed):
    if number == 11 and PLACE == "window":
        die()
    if number == 5 and PLACE.startswith("SIG"):
        os.kill(os.getpid(), signal.Signals[PLACE])
    return micro_batch(self, number, routed)


if PLACE == "checkpoint":
    checkpoint.save = save_and_die
if PLACE == "window" or PLACE.startswith("SIG"):
    trainer.Trainer.micro_batch = begin_and_die
runpy.run_module("lander.finetune", run_name="__main__", alter_sys=True)
