"""Greedy decoding of a batch that shrinks: a row leaves it as soon as it has ended.

Hugging Face's own loop keeps every row until the last one has ended. This one is given to `generate` as
`custom_generate`: `generate` prepares cache, logits processors and stopping criteria as ever, so the tokens are those
of its own loop; rows of the cache that have ended are dropped.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


def greedy(
    network: nn.Module,
    input_ids: torch.Tensor,
    logits_processor: Any,
    stopping_criteria: Callable[[torch.Tensor, None], torch.Tensor],
    **inputs: Any,
) -> list[list[int]]:
    """New tokens of each row, up to and with its end token.

    Args:
        input_ids: prompts (batch, tokens), padded on the left.
        inputs: what `generate` has prepared (it wants to see no more names here than its own loop has). Used are
            `past_key_values`, an empty cache whose rows can be selected; `attention_mask` (batch, tokens), absent or
            None where there is no padding; `position_ids` (batch, tokens) and `logits_to_keep`, where the model knows
            them.
    """
    cache = inputs["past_key_values"]
    state = {name: inputs[name] for name in NEXT if inputs.get(name) is not None}
    constant = {"past_key_values": cache, "use_cache": True}
    constant |= {name: inputs[name] for name in ("logits_to_keep",) if name in inputs}
    pad, width = inputs["generation_config"].pad_token_id, input_ids.shape[1]
    rows = torch.arange(len(input_ids), device=input_ids.device)  # those that have not ended
    tokens = step = input_ids  # tokens: of all rows, as processors and criteria know them; step: of those left
    lengths = torch.zeros_like(rows)
    while len(rows):
        output = network(input_ids=step, **state, **constant)
        step = process(logits_processor, tokens, rows, output.logits[:, -1].float()).argmax(-1, keepdim=True)
        tokens = torch.cat([tokens, torch.full_like(tokens[:, :1], pad).index_copy(0, rows, step)], 1)
        lengths[rows] += 1
        state = {name: NEXT[name](value) for name, value in state.items()}
        ended = stopping_criteria(tokens, None)[rows]
        if ended.any():
            left = (~ended).nonzero()[:, 0]
            cache.batch_select_indices(left)
            rows, step = rows[left], step[left]
            state = {name: value[left] for name, value in state.items()}
    written = tokens[:, width:].tolist()
    return [row[:length] for row, length in zip(written, lengths.tolist(), strict=True)]


def process(logits_processor: Any, tokens: torch.Tensor, rows: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Scores of the rows that are left. A processor may know its rows by their place: it is shown all of them."""
    if not logits_processor:
        return logits
    every = logits.new_zeros(len(tokens), logits.shape[1]).index_copy(0, rows, logits)
    return logits_processor(tokens, every)[rows]


NEXT: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {  # of a step -> of the next one
    "attention_mask": lambda mask: torch.cat([mask, torch.ones_like(mask[:, :1])], 1),
    "position_ids": lambda positions: positions[:, -1:] + 1,
}
