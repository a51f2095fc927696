"""Every run checks the promise of selective finetuning: what is not trained has not changed by one bit.

Digests of all frozen parameters are taken before the engine exists and compared before anything is written. That costs
one read of the frozen weights at each end (about a second per GB), and no memory.
"""

import hashlib

import torch
import torch.distributed as dist
from torch import nn

from lander.finetune.engine import gathered


class Moved(RuntimeError):
    """Frozen parameters have changed: a bug of ours or of a library, never the user's fault."""


def digests(network: nn.Module) -> dict[str, str]:
    """Digest of every frozen parameter by name. Under ZeRO-3 all ranks must call it; rank 0 has the answer."""
    found = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            with gathered(parameter):
                if dist.get_rank() == 0:
                    data = parameter.detach().cpu().contiguous().reshape(-1).view(torch.uint8)  # the bytes of any type
                    found[name] = hashlib.blake2b(memoryview(data.numpy()), digest_size=16).hexdigest()
    return found


def check(network: nn.Module, before: dict[str, str]) -> None:
    """Compare the frozen parameters with their digests at the beginning; `Moved` names those that have changed."""
    after = digests(network)
    moved = [name for name, value in before.items() if after.get(name) != value]
    if moved and dist.get_rank() == 0:
        raise Moved(
            f"{len(moved)} of {len(before)} frozen parameters have changed in training, {', '.join(moved[:3])} among "
            "them; nothing was written. This is a bug: please report it with the log and the config"
        )
