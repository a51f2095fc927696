"""Greedy decoding without wasted work: finished rows leave the batch, and prompts are read without padding.

Hugging Face's loop pads all prompts of a batch to the longest and keeps every row until the last one has ended. This
one is given to `generate` as `custom_generate`. `generate` still prepares cache, logits processors and stopping
criteria, so the tokens are those of its own loop. Prompts are read in parts of similar length, whose caches are joined;
then all rows go on together, and each leaves the batch when it ends.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.functional import pad

from lander.finetune.switch import Router
from lander.models.loading import no_numbers

SPARE = 0.05  # largest share of padding in a part of the prompts


def greedy(
    network: nn.Module,
    input_ids: torch.Tensor,
    logits_processor: Any,
    stopping_criteria: Callable[[torch.Tensor, None], torch.Tensor],
    router: Router | None = None,
    **inputs: Any,
) -> list[list[int]]:
    """New tokens of each row, up to and with its end token, behind prompts (batch, tokens) that are padded on the left.

    `router` knows the direction of each row where the batch mixes several. `inputs` is what `generate` prepared. Used
    are `past_key_values`, an empty cache whose rows can be selected; `attention_mask` (batch, tokens), absent or None
    where there is no padding; `position_ids` (batch, tokens) and `logits_to_keep`, where the model knows them.
    """
    cache, router = inputs["past_key_values"], router or Router()
    state = {name: inputs[name] for name in NEXT if inputs.get(name) is not None}
    constant = {name: inputs[name] for name in ("logits_to_keep",) if name in inputs} | {"use_cache": True}
    filler, width = inputs["generation_config"].pad_token_id, input_ids.shape[1]
    size = inputs["generation_config"].prefill_chunk_size or width  # of the pieces in which long prompts are read
    rows, logits = read(network, input_ids, cache, state, constant, size, router)  # rows: not ended
    state = {name: value[rows] for name, value in state.items()}
    tokens, lengths = input_ids, torch.zeros_like(rows)  # of all rows, as processors and criteria know them
    while True:
        if logits_processor:  # it may identify rows by their place, so it sees all of them
            every = logits.new_zeros(len(tokens), logits.shape[1]).index_copy(0, rows, logits)
            logits = logits_processor(tokens, every)[rows]
        step = logits.argmax(-1, keepdim=True)
        check_chosen(None, logits.gather(-1, step))
        tokens = torch.cat([tokens, torch.full_like(tokens[:, :1], filler).index_copy(0, rows, step)], 1)
        lengths[rows] += 1
        state = {name: NEXT[name](value) for name, value in state.items()}
        ended = stopping_criteria(tokens, None)[rows]
        if ended.all():
            break
        if ended.any():
            left = (~ended).nonzero()[:, 0]
            cache.batch_select_indices(left)
            rows, step = rows[left], step[left]
            state = {name: value[left] for name, value in state.items()}
        with router.only(rows):
            logits = network(input_ids=step, past_key_values=cache, **state, **constant).logits[:, -1].float()
    written = tokens[:, width:].tolist()
    return [row[:length] for row, length in zip(written, lengths.tolist(), strict=True)]


def check_chosen(_tokens: torch.Tensor | None, logits: torch.Tensor) -> torch.Tensor:
    """The logits (rows, tokens). UserError if a row's largest is no number, as it is if any is NaN."""
    if not logits.amax(-1).isfinite().all():
        raise no_numbers("translate")
    return logits


def read(
    network: nn.Module,
    input_ids: torch.Tensor,
    cache: Any,
    state: dict[str, torch.Tensor],
    constant: dict[str, Any],
    size: int,
    router: Router,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fill the cache with the prompts, `size` tokens at a time.

    Returns the rows in the cache's order, and their last token's logits.
    """
    mask = state.get("attention_mask")
    lengths = [input_ids.shape[1]] * len(input_ids) if mask is None else mask.sum(1).tolist()
    parts = similar(lengths)
    if any(cache.is_sliding):  # a window's cache knows how far it has come, all rows alike
        parts = [list(range(len(input_ids)))]
    logits, caches = [], []
    for part in parts:
        width = input_ids.shape[1] if len(parts) == 1 else lengths[part[0]]
        own = {name: value[part, -width:] for name, value in state.items()}
        caches.append(cache if len(parts) == 1 else copy.deepcopy(cache))
        for start in range(0, width, size):
            here = {name: value[:, start : start + size] for name, value in own.items()}
            if mask is not None:
                here["attention_mask"] = own["attention_mask"][:, : start + size]
            tokens = input_ids[part, -width:][:, start : start + size]
            with router.only(part):
                output = network(input_ids=tokens, past_key_values=caches[-1], **here, **constant)
        logits.append(output.logits[:, -1].float())
    for layer in range(len(caches[0].layers) if len(parts) > 1 else 0):  # padded on the left; the mask hides it
        states = []
        for name in ("keys", "values"):
            own = [getattr(part.layers[layer], name) for part in caches]
            states.append(torch.cat([pad(one, (0, 0, input_ids.shape[1] - one.shape[-2], 0)) for one in own]))
        cache.update(*states, layer)
    rows = torch.tensor([row for part in parts for row in part], device=input_ids.device)
    return rows, torch.cat(logits)


def similar(lengths: list[int]) -> list[list[int]]:
    """Rows in parts, longest first: no part that is padded to its longest row is padding by more than `SPARE`."""
    parts: list[list[int]] = []
    held = 0  # tokens of the last part
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        held += lengths[row]
        if parts and held >= (1 - SPARE) * (len(parts[-1]) + 1) * lengths[parts[-1][0]]:
            parts[-1].append(row)
        else:
            parts.append([row])
            held = lengths[row]
    return parts


NEXT: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {  # of a step -> of the next one
    "attention_mask": lambda mask: torch.cat([mask, torch.ones_like(mask[:, :1])], 1),
    "position_ids": lambda positions: positions[:, -1:] + 1,
}
