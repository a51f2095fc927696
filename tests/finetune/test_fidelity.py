"""The paper's numbers (table 1, section 4.2), by the code that trains: BLOOM-7b1 without weights (meta device)."""

from pathlib import Path

import numpy as np
import pytest
import torch
import toys
from torch import nn
from transformers import BloomConfig, BloomForCausalLM

from lander.config import config
from lander.config.config import READINGS
from lander.config.masks import Routing
from lander.config.methods import Lora
from lander.finetune.engine import BlockAdamW
from lander.finetune.methods import Prepared, count, prepare
from lander.finetune.schedule import Pairs, Schedule
from lander.report import paper

LANGUAGES = ["ar", "de", "en", "fr", "it", "zh"]
DIRECTIONS = [f"{a}-{b}" for a in LANGUAGES for b in LANGUAGES if (a == "en") != (b == "en")]
CONFIGS = Path(__file__).parents[2] / "config"
LAYERS, NEURONS = [0, 1, 28, 29], 16384
WHOLE_LAYERS, THEIR_FFNS = 805_519_360, 536_952_832


def prepared(method: str, **options) -> Prepared:
    with torch.device("meta"):
        base = BloomForCausalLM(BloomConfig(vocab_size=250_880, hidden_size=4096, n_layer=30, n_head=32))
        return prepare(method, base.requires_grad_(False), **options)


@pytest.fixture(scope="module")
def masks():
    """A tenth of the neurons is owned by six languages, so four sixths of that tenth are absent in a direction."""
    owners = [*[None] * 54, *LANGUAGES]
    return {direction: toys.mask(LAYERS, NEURONS, *direction.split("-"), owners) for direction in DIRECTIONS}


@pytest.mark.parametrize(("scope", "expected"), [("layer", WHOLE_LAYERS), ("ffn", THEIR_FFNS)])
def test_landermt(masks, scope, expected):
    """805M: four whole layers. Every neuron is trained in some direction, the output bias in all."""
    model = prepared("landermt", masks=masks, scope=scope, routing=Routing(scale="input", gate="static"))
    assert (masks["en-de"]["role"] == "absent").mean() == pytest.approx(4 / 60, abs=1e-3)
    assert count(model.groups) == expected


@pytest.mark.parametrize(
    ("method", "options", "expected"),
    [
        ("full", {}, 7_069_016_064),
        ("lora", {"lora": Lora(rank=16)}, 31_457_280),
        ("lora", {"lora": Lora(rank=64, targets=("query_key_value",))}, 31_457_280),
        ("adapter", {"bottleneck": 3280}, 806_314_080),
        ("adapter-lora", {"bottleneck": 3280, "lora": Lora(rank=16)}, 806_310_240),
    ],
)
def test_baselines(method, options, expected):
    assert count(prepared(method, **options).groups) == expected


@pytest.mark.parametrize(
    ("method", "options", "sizes", "budget", "within"),
    [
        ("adapter-lora", {"bottleneck": 3280}, {"lora_rank": 16, "bottleneck": 3152}, 806_314_080, 30 * (2 * 4096 + 1)),
        ("lora-matched", {"budget_layers": 4}, {"lora_rank": 410}, WHOLE_LAYERS, 65_536 * 30 / 2),  # half a rank
        ("lora-matched", {"budget_layers": 4, "scope": "ffn"}, {"lora_rank": 273}, THEIR_FFNS, 65_536 * 30 / 2),
        ("adapter", {"budget_layers": 4}, {"bottleneck": 3276}, WHOLE_LAYERS, 30 * (2 * 4096 + 1)),  # one unit
    ],
)
def test_what_is_added_is_as_near_to_its_budget_as_can_be(method, options, sizes, budget, within):
    model = prepared(method, **options)
    assert model.sizes == sizes
    assert abs(budget - count(model.groups)) < within
    assert method == "lora-matched" or count(model.groups) <= budget


@pytest.fixture(scope="module")
def settings():
    """config/paper.yaml."""
    return config.read(CONFIGS / "paper.yaml")


def test_the_papers_config_is_the_paper(settings):
    """Table 1's methods, the equations as printed, and the sizes with which the baselines have their parameters."""
    assert sorted(settings.methods) == sorted(paper.TABLE1)
    read = {
        part: {key: getattr(getattr(settings, part), key) for key in keys} for part, keys in READINGS["paper"].items()
    }
    assert read == READINGS["paper"]
    assert (settings.layers.k, settings.neurons.general_share, settings.finetune.scope) == (4, 0.9, "layer")
    assert settings.finetune.method("adapter").bottleneck == 3280
    assert {settings.finetune.method(name).rank for name in ("lora", "adapter-lora")} == {16}


def test_the_papers_schedule(settings):
    """12,500 iterations a direction, batch 8, accumulation 10, one epoch, 5e-5, AdamW."""
    finetune, pairs = settings.finetune, settings.data.max_pairs
    assert (pairs, finetune.batch_size, finetune.accumulate, finetune.epochs) == (100_000, 8, 10, 1)
    assert {str(direction) for direction in settings.directions} == set(DIRECTIONS)
    one = Pairs(np.ones(pairs, np.int32), np.arange(1, pairs + 1), np.zeros(pairs, np.int32))
    schedule = Schedule({str(d): one for d in settings.directions}, finetune.batch_size, seed=0)
    updates = schedule.updates(finetune.epochs, finetune.accumulate)
    assert finetune.steps is None
    assert updates * finetune.accumulate / len(settings.directions) == 12_500  # micro-batches of a direction
    assert {finetune.method(method).learning_rate for method in config.trained(settings)} == {5e-5}
    assert isinstance(BlockAdamW([nn.Parameter(torch.zeros(1))]), torch.optim.AdamW)
