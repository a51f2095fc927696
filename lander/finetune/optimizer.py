"""AdamW that leaves idle groups exactly as they are."""

import torch
from torch.nn.utils import get_total_norm


class BlockAdamW(torch.optim.AdamW):
    """AdamW over parameter groups, of which those with `group["idle"]` are left out of a step.

    A gradient of zeros is not nothing: AdamW would still decay the weights and move them by their old momentum. A
    block that no row of an update window used must not move at all, so its group is taken away for the step. Works
    inside every ZeRO stage of DeepSpeed, which steps its groups one by one and keeps their keys.

    A gradient that is not finite moves nothing, and `overflow` says so until the next step, as with DeepSpeed's own.

    `group["updates"]`, where it is given, says how many updates the group has had, for the bias correction: a
    checkpoint can restore it there, whichever tensors a ZeRO stage puts in the parameters' place.
    """

    overflow = False

    def step(self, closure=None):  # signature of torch.optim.Optimizer
        """One update of the groups that are not idle."""
        groups = self.param_groups
        self.param_groups = [group for group in groups if not group.get("idle")]
        used = [parameter.grad for group in self.param_groups for parameter in group["params"]]
        # One by one: the kernel for lists has failed with tensors of more than 2^31 numbers (pytorch #169930).
        norm = get_total_norm([gradient for gradient in used if gradient is not None], foreach=False)
        self.overflow = not bool(norm.isfinite())
        if self.overflow:
            self.param_groups = groups
            return None
        for group in self.param_groups:
            for state in (self.state[parameter] for parameter in group["params"] if parameter in self.state):
                if "step" in state and "updates" in group:
                    state["step"].fill_(group["updates"])
        try:
            return super().step(closure)
        finally:
            self.param_groups = groups


def learning_rate(update: int, updates: int, peak: float, warmup: int, schedule: str) -> float:
    """Learning rate of an update (from 0): linear warmup, then `constant`, or `linear` or `cosine` down to zero."""
    if update < warmup:
        return peak * (update + 1) / warmup
    if schedule == "constant":
        return peak
    progress = (update - warmup) / max(updates - warmup, 1)
    if schedule == "linear":
        return peak * (1 - progress)
    return peak * 0.5 * (1 + float(torch.cos(torch.tensor(progress * torch.pi))))
