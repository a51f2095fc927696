"""The model, and the loop that trains it: schedule, progress, checkpoints."""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import BloomConfig, BloomForCausalLM

from lander.models.families import fuse_activations
from lander.models.pretrain.documents import END, SPECIAL, Documents, train_tokenizer, windows
from lander.shared import deadline, machine
from lander.shared.digest import code_digest
from lander.shared.errors import UserError, brief, lacking
from lander.shared.files import whole_file
from lander.shared.progress import progress

LOSS_COLUMNS = ["update", "tokens", "loss", "learning_rate"]  # nats per token


def rate(update: int, updates: int, warmup: int, cooldown: float) -> float:
    """Factor of the learning rate: warm up, stay at 1, cool down to 0 over the last `cooldown` share of updates."""
    left = (updates - update) / max(1.0, updates * cooldown)
    return min(1.0, (update + 1) / (warmup + 1), left)


class Trainer:
    """Model, optimizer and place in the text; goes on from a checkpoint of the same recipe, if there is one."""

    def __init__(self, recipe: dict[str, Any], documents: Documents, checkpoint: Path, every: float = 120.0) -> None:
        """
        Args:
            recipe: the flags that shape the result.
            checkpoint: file to go on from, and to write.
            every: seconds between checkpoints.
        """
        self.recipe, self.documents, self.checkpoint, self.every = recipe, documents, checkpoint, every
        self.update = self.document = 0
        self.losses: list[list[float]] = []  # LOSS_COLUMNS
        self.rows = max(1, recipe["batch_tokens"] // recipe["context"])
        self.updates = max(1, recipe["tokens"] // (self.rows * recipe["context"]))
        self.device = machine.device()
        self.origin = {"text": documents.digest(), "code": code_digest("lander.models.pretrain")} | {
            name: version(name) for name in ("torch", "transformers", "tokenizers")
        }
        # bfloat16 only where it is native: emulated it is slower than float32
        self.half = machine.native_bfloat16() if self.device.type == "cuda" else machine.autocasts("auto")
        saved = self._read_checkpoint()
        if saved:
            self.tokenizer = Tokenizer.from_str(saved["tokenizer"])
            self.tokenizer.encode_special_tokens = True  # not kept in tokenizer.json
        else:
            self.tokenizer = train_tokenizer(documents, recipe["vocabulary"])
        torch.manual_seed(recipe["seed"])
        config = BloomConfig(
            vocab_size=self.tokenizer.get_vocab_size(), hidden_size=recipe["d_model"], n_layer=recipe["n_layer"],
            n_head=recipe["n_head"], hidden_dropout=0.0, attention_dropout=0.0, bos_token_id=SPECIAL.index("<s>"),
            eos_token_id=END, pad_token_id=SPECIAL.index("<pad>"),
        )  # fmt: skip
        self.model = BloomForCausalLM(config).float()
        fuse_activations(self.model)
        self.model.to(self.device)
        groups = [
            {"params": [p for p in self.model.parameters() if p.dim() > 1], "weight_decay": recipe["weight_decay"]},
            {"params": [p for p in self.model.parameters() if p.dim() <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=recipe["learning_rate"], betas=(0.9, 0.95), fused=True)
        if saved:
            self.update, self.document, self.losses = saved["update"], saved["document"], saved["losses"]
            for name, parameter in self.model.named_parameters():
                kinds = ("weight", "first", "second")
                weight, first, second = (saved["tensors"][f"{kind} {name}"].to(self.device) for kind in kinds)
                parameter.data.copy_(weight)
                step = torch.tensor(float(self.update), device=self.device)
                self.optimizer.state[parameter] = {"step": step, "exp_avg": first, "exp_avg_sq": second}

    def train(self) -> None:
        """Train to the end of the budget. UserError if the job's time is up (a checkpoint is then written)."""
        source = windows(self.documents, self.tokenizer, self.recipe["context"], self.document)
        started = kept = time.monotonic()
        first, tokens = self.update, self.rows * self.recipe["context"]
        weights = 4 * sum(p.numel() for p in self.model.parameters())  # bytes
        timer = deadline.Timer(deadline.job_end(), 3 * weights, weights)
        with progress("lander pretrain", self.updates, first, patience=0) as bar:
            while self.update < self.updates:
                batch = [next(source) for _ in range(self.rows)]
                self.document = batch[-1][1]
                loss = self._step(torch.stack([torch.from_numpy(window) for window, _ in batch]).to(self.device))
                now = time.monotonic()
                speed = tokens * (self.update - first) / (now - started)
                facts = f"update {self.update}/{self.updates}, {self.update * tokens / 1e6:.2f}M tokens"
                bar.set_postfix_str(f"{facts}, {speed:,.0f} tokens/s, loss {loss:.3f}", refresh=False)
                bar.update()
                last = self.update == self.updates
                over = timer.is_up(last)
                if over or (now - kept > self.every and not last):
                    self.save_checkpoint()
                    kept = now
                    if over:
                        deadline.requeue()
                        raise deadline.stopped(self.update, self.updates)

    def _step(self, ids: torch.Tensor) -> float:
        """One update on `ids`, int64 (rows, context); returns the loss per token in nats."""
        factor = rate(self.update, self.updates, self.recipe["warmup"], self.recipe["cooldown"])
        learning_rate = self.recipe["learning_rate"] * factor
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            logits = self.model(ids[:, :-1], use_cache=False).logits
        loss = functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        value = loss.item()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe["clip"])
        if not norm.isfinite():
            raise UserError(
                f"the gradient is not finite at update {self.update + 1} (loss {value:.3f}); "
                "lower pretrain.learning_rate"
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.update += 1
        self.losses.append([self.update, self.update * ids.numel(), round(value, 5), round(learning_rate, 8)])
        return value

    # ---------------------------------------------------------------- checkpoints

    def save_checkpoint(self) -> None:
        """Write weights, moments and place into one file, whole or not at all."""
        tensors = {}
        for name, parameter in self.model.named_parameters():
            moments = self.optimizer.state[parameter]
            tensors[f"weight {name}"] = parameter.detach()
            tensors[f"first {name}"], tensors[f"second {name}"] = moments["exp_avg"], moments["exp_avg_sq"]
        state = {name: getattr(self, name) for name in ("recipe", "origin", "update", "document", "losses")}
        state["tokenizer"] = self.tokenizer.to_str()
        with whole_file(self.checkpoint) as temporary:
            save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, temporary, {"state": json.dumps(state)})

    def _read_checkpoint(self) -> dict[str, Any] | None:
        """The state of a checkpoint of the same text, code and recipe; None if there is none to go on from.

        The budget may differ while neither budget has begun to cool down: until then both trainings are the same.
        """
        if not self.checkpoint.exists():
            return None
        try:
            with safe_open(self.checkpoint, "pt") as file:
                state = json.loads(file.metadata()["state"])
                state["tensors"] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            fault = self._fault(state)
        except Exception as error:  # a damaged file costs time, not the run
            if lacking(error):
                raise
            fault = f"not readable ({brief(error)})"
        if fault:
            print(f"pretrain: {self.checkpoint}: {fault}; starting over", file=sys.stderr)
            return None
        print(f"pretrain: going on from update {state['update']} of {self.checkpoint}", file=sys.stderr)
        return state

    def _fault(self, state: dict[str, Any]) -> str:
        """Why a checkpoint is not one of this training, or nothing."""
        origin = state.get("origin", {})
        if other := [what for what, value in self.origin.items() if origin.get(what) != value]:
            return f"made with other {', '.join(other)}"
        budgets = (self.recipe["tokens"], state["recipe"]["tokens"])
        same = {**state["recipe"], "tokens": 0} == {**self.recipe, "tokens": 0}
        ends = [tokens // (self.rows * self.recipe["context"]) for tokens in budgets]
        hot = all(rate(state["update"] - 1, end, 0, self.recipe["cooldown"]) == 1 for end in ends)
        return "" if same and (hot or budgets[0] == budgets[1]) else "of another recipe"
