"""The loss that never holds all logits: equal to plain cross-entropy, with its gradients."""

import pytest
import torch
import toys
from torch.nn.functional import cross_entropy

from lander.models import losses
from lander.models.tokens import Batch


def plain(network, batch, embedded, cap):
    """Sum of the token losses, from all logits at once; this family's own model does not cap them."""
    logits = network(inputs_embeds=embedded, attention_mask=batch.attention_mask).logits[:, :-1]
    logits = cap * torch.tanh(logits / cap) if cap else logits
    return cross_entropy(logits.flatten(0, 1), batch.labels[:, 1:].flatten(), reduction="sum")


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("cap", [None, 2.0])
def test_loss_and_gradients_are_those_of_plain_cross_entropy(trained, cap, monkeypatch):
    network = toys.FAMILIES["gemma"]().double().requires_grad_(trained)
    network.config.final_logit_softcapping = cap
    ids = torch.randint(5, network.config.vocab_size, (3, 9), generator=torch.Generator().manual_seed(0))
    batch = Batch(ids, torch.ones_like(ids), ids.where(torch.arange(9) > 3, -100))
    embedded = network.get_input_embeddings()(ids).detach().requires_grad_(True)
    monkeypatch.setattr(losses, "LOGITS_AT_ONCE", 8 * 4 * network.config.vocab_size)  # 15 positions: 4, 4, 4 and 3
    monkeypatch.setattr(losses, "NUMBERS_AT_ONCE", 3 * network.config.vocab_size)
    inputs = [embedded, *(parameter for parameter in network.parameters() if trained)]
    expected = plain(network, batch, embedded, cap)
    found = losses.summed_loss(network, batch, inputs_embeds=embedded)
    torch.testing.assert_close(found, expected)
    gradients = (torch.autograd.grad(2 * one, inputs, allow_unused=True) for one in (found, expected))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)
    rows = losses.token_losses(network, batch, inputs_embeds=embedded)
    assert rows.shape == (15,)
    torch.testing.assert_close(rows.sum(), expected.detach())
    with torch.no_grad():
        torch.testing.assert_close(losses.summed_loss(network, batch, inputs_embeds=embedded), expected.detach())


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_long_sequences_are_read_in_pieces(family, monkeypatch):
    network, widths = toys.FAMILIES[family]().double(), []
    ids = toys.ids(2, 40)
    mask = torch.ones_like(ids)
    mask[1, 30:] = 0
    batch = Batch(ids, mask, ids.where((torch.arange(40) > 3) & (mask == 1), -100))
    whole = losses.token_losses(network, batch, input_ids=ids)
    monkeypatch.setattr(losses, "PAIRS_AT_ONCE", 1)
    count = lambda _m, _a, given: widths.append(given["input_ids"].shape[1])  # noqa: E731
    network.base_model.register_forward_pre_hook(count, with_kwargs=True)
    torch.testing.assert_close(losses.token_losses(network, batch, input_ids=ids), whole)
    assert widths == [16, 16, 8]
