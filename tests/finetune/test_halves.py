"""What a training on a CPU does before its first step where it multiplies in bfloat16."""

import pytest
import torch
import toys

from lander.finetune.halves import SHORT, plain_attention
from lander.finetune.schedule import Pairs, Schedule
from lander.models.losses import token_losses
from lander.models.tokens import Batch


@pytest.mark.parametrize("family", ["llama", "gemma"])
def test_attention_of_short_pairs_is_plain_and_gives_the_same_losses(family):
    network = toys.FAMILIES[family]().eval()
    ids = toys.ids(3, 9)
    batch = Batch(ids, (torch.arange(9) < torch.tensor([[9], [7], [5]])).long(), ids)
    fused = token_losses(network, batch, input_ids=ids)
    plain_attention(network, SHORT + 1)
    assert network.config._attn_implementation == "sdpa"
    plain_attention(network, SHORT)
    assert network.config._attn_implementation == "eager"
    torch.testing.assert_close(token_losses(network, batch, input_ids=ids), fused, rtol=1e-5, atol=1e-5)


def test_the_longest_pair_is_of_any_direction():
    lengths = {"en-de": [3, 4], "de-en": [9, 2], "en-fr": [5]}
    pairs = {
        name: Pairs(torch.zeros(99).numpy(), torch.tensor(of).cumsum(0).numpy(), None) for name, of in lengths.items()
    }
    assert Schedule(pairs, batch_size=2, seed=0).longest == 9
