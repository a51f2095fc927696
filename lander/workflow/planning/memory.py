"""Memory of a stage: its own code runs on tensors that have shapes but no numbers, and the bytes alive are counted.

So the plan follows every change of that code. What is no tensor of it is a constant here: what DeepSpeed holds for each
trained parameter (`CPU`, `GPU`), and what a CPU takes beyond the tensors alive (`HEAP`, `PROGRAMS`).

On a CPU freed memory is kept (`lander.shared.machine.prepare`), so what the end of a training needs (buffers, float32
masters, and for `full` the base again) comes on top of the largest micro-batch.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lander.config import config
from lander.detect.estimators import sum_scores
from lander.finetune.methods import Prepared
from lander.finetune.trainer import TranslationLoss
from lander.models.losses import token_losses
from lander.models.tokens import IGNORED, Batch

STAGES = (0, 1, 2, 3)
SIZE = {"float32": 4, "bfloat16": 2}
BUCKET = 5e8  # numbers that DeepSpeed reduces at a time
HEAP = 1.3  # on a CPU: gaps between tensors of many sizes, and buffers inside of operations (measured: 1.2 to 1.5)
PROGRAMS = 120e6  # bytes of oneDNN's, where a CPU multiplies in bfloat16 (`lander.models.loading` bounds their number)

# Bytes for each trained parameter by dtype of the weights and ZeRO stage: what every rank holds, and what ranks share.
CPU = {  # measured on one process (BLOOMs of 50M and 35M parameters)
    ("float32", 0): (16, 0),  # gradients 4, moments 8; at the end masters 4
    ("float32", 1): (8, 21),
    ("float32", 2): (4, 17),
    ("float32", 3): (4, 24),
    ("bfloat16", 1): (8, 21),
    ("bfloat16", 2): (6, 33),
    ("bfloat16", 3): (6, 35),
}
GPU = {  # what its optimizers keep
    ("float32", 0): (12, 0),  # gradients 4, moments 8
    ("float32", 1): (4, 16),  # gradients 4; masters 4, moments 8, their gradients 4
    ("float32", 2): (0, 20),
    ("float32", 3): (0, 20),
    ("bfloat16", 1): (6, 12),  # gradients 2 and their sums 4; masters 4, moments 8
    ("bfloat16", 2): (0, 18),
    ("bfloat16", 3): (0, 18),
}


def effective_stage(dtype: str, stage: int) -> int:
    """bfloat16 weights use stage 1 at least (`lander.finetune.engine.Engine`)."""
    return max(stage, 1) if dtype == "bfloat16" else stage


def training(
    *,
    gpu: bool,
    dtype: str,
    stage: int,
    ranks: int,
    parameters: int,
    trained: int,
    activations: float,
    halved: float = 0,
    copy: int = 0,
    file: float = 0,
) -> float:
    """Peak of one rank, in bytes, without its imports.

    `halved` are the bytes that the weights give back (`lander.finetune.halves`), below 0 if they take more.
    `activations` are bytes of a micro-batch without gradients of weights. `copy` are the parameters of the base that is
    loaded again, in main memory, to write the model (`full`). `file` are the bytes of the base's file that are in a
    CPU's memory while it is read (`Base.file_bytes`).
    """
    stage = effective_stage(dtype, stage)
    whole, shared = (GPU if gpu else CPU)[dtype, stage]
    loaded = parameters * SIZE[dtype]
    weights = loaded / ranks if stage == 3 else loaded - halved
    more = min(trained, BUCKET) * SIZE[dtype] if gpu else copy * SIZE[dtype]
    peak = weights + trained * (whole + shared / ranks) + activations + more
    return peak if gpu else max(loaded + file, peak)


def beyond_tensors(gpu: bool, autocast: bool, peak: float) -> float:
    """Bytes that a device takes for tensors of `peak` bytes that come and go."""
    return peak if gpu else HEAP * peak + PROGRAMS * autocast


class Count(TorchDispatchMode):
    """Counts the bytes of tensors without numbers while they live: `now`, and at most, `peak`.

    Operations on tensors with numbers (token ids, masks, positions) are computed: code may ask what is in them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.held: dict[int, int] = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # signature of PyTorch
        given = tree_leaves((args, kwargs))
        if not any(isinstance(value, FakeTensor) for value in given):
            with unset_fake_temporarily():
                return function(*args, **(kwargs or {}))
        if function is torch.ops.aten.index.Tensor:  # where a mask of numbers selects, the result's shape is known
            with unset_fake_temporarily():
                args = (args[0], [part for index in args[1] for part in _places(index)])
        result = function(*args, **(kwargs or {}))
        for storage in [tensor.untyped_storage() for tensor in tree_leaves(result) if isinstance(tensor, FakeTensor)]:
            if (key := storage._cdata) not in self.held:
                self.held[key] = storage.nbytes()
                self.now += self.held[key]
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._remove, key)
        return result

    def _remove(self, key: int) -> None:
        self.now -= self.held.pop(key)


def _places(index: torch.Tensor | None) -> list[torch.Tensor | None]:
    masks = index is not None and index.dtype == torch.bool and not isinstance(index, FakeTensor)
    return list(index.nonzero().unbind(1)) if masks else [index]


@contextmanager
def counting(network: nn.Module) -> Iterator[Count]:
    """Count what is made within. The network is on the meta device; its weights get no numbers and are not counted."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    made: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}  # by the id of the tensor before, which is kept alive
    for module in network.modules():
        for named in (module._parameters, module._buffers):
            for name, value in named.items():
                if value is None:
                    continue
                if id(value) not in made:
                    with mode:
                        empty = torch.empty(value.shape, dtype=value.dtype)
                    parameter = isinstance(value, nn.Parameter)
                    made[id(value)] = (value, nn.Parameter(empty, value.requires_grad) if parameter else empty)
                named[name] = made[id(value)][1]
    with mode, Count() as count:
        count.held = {tensor.untyped_storage()._cdata: 0 for _, tensor in made.values()}
        yield count


def batch_of(rows: int, tokens: float, predicted: float) -> Batch:
    """A batch of one length, of whose tokens the last ones are predicted; with padding, as almost every batch."""
    tokens, predicted = max(2, round(tokens)), max(1, round(predicted))
    ids = torch.zeros(rows, tokens, dtype=torch.int64)
    mask, labels = torch.ones_like(ids), torch.full_like(ids, IGNORED)
    labels[:, -predicted:] = 0
    mask[0, -1] = 0
    return Batch(ids, mask, labels)


def micro_batch(prepared: Prepared, direction: str, batch: Batch, *, autocast: bool, again: bool) -> float:
    """Bytes that a micro-batch makes at most, without gradients of weights. `again`: activations are recomputed."""
    if not prepared.groups:
        return 0.0
    if again:  # as `lander.finetune.trainer.train`
        prepared.network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    prepared.router.direction = direction
    loss = TranslationLoss(prepared.network).train()
    with counting(prepared.network) as count:
        for parameter in prepared.trained().values():  # as after the first micro-batch
            parameter.grad = torch.empty_like(parameter)
        gradients, count.peak = count.now, count.now
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            value = loss(batch)
        value.backward()
        return float(count.peak - gradients)


def peak(network: nn.Module, work: Callable[[], object]) -> float:
    """Bytes that a piece of work with a network makes at most."""
    with counting(network) as count:
        work()
        return float(count.peak)


def stages(
    settings: config.Config, make: Callable[[], nn.Module], longest: float, predicted: float
) -> dict[str, float]:
    """Bytes that the stages that only use the base make at most.

    Args:
        make: makes the base on the meta device.
        longest, predicted: tokens of the longest pair, and of its translation.
    """
    activations, awareness, translate = settings.activations, settings.awareness, settings.translate
    network = make()
    read = batch_of(min(activations.batch_size, activations.sentences), longest, 1)
    inputs = {"input_ids": read.input_ids, "attention_mask": read.attention_mask, "use_cache": False}
    with torch.no_grad():
        found = {"activations": peak(network, lambda: network.base_model(**inputs))}
    lengths = (predicted, predicted - 1) if awareness.text == "monolingual" else (longest, predicted)
    scored = batch_of(min(awareness.batch_size, awareness.sentences), *lengths)
    found["awareness"] = peak(network := make(), lambda: sum_scores(network, iter([scored])))
    # The stage translate takes the losses of the references and decodes. The caches of parts of the prompts are put
    # together, so keys and values are there twice.
    network, text = make(), make().config.get_text_config()
    sequences = translate.batch_size * translate.beams
    references = batch_of(translate.batch_size, longest, predicted)
    prompts = batch_of(sequences, longest - predicted, 1)
    inputs = {"input_ids": prompts.input_ids, "attention_mask": prompts.attention_mask, "logits_to_keep": 1}
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = heads * (getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)
    cache = 2 * text.num_hidden_layers * width * (longest - predicted + translate.max_new_tokens)
    size = next(network.parameters()).element_size()
    with torch.no_grad():
        losses = peak(network, lambda: token_losses(network, references, input_ids=references.input_ids))
        network = make()
        reading = peak(network, lambda: network(**inputs, use_cache=True))
    found["translate"] = max(losses, reading, sequences * (2 * size * cache + 2 * 4 * text.vocab_size))
    return found
