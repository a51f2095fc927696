"""The models that are measured: random weights in the shape of real models, made from a config without a download.

Weights are bfloat16 numbers, as of most models that are published, in the type in which Lander loads them.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import nn

from lander.shared import machine


@dataclass(frozen=True)
class Geometry:
    """A model's config, its type of weights (`model.dtype`), and the batches that it is measured on by default."""

    model_type: str
    sizes: Mapping[str, int]
    dtype: str = "auto"
    training: Mapping[str, int] = field(default_factory=lambda: {"batch": 8, "tokens": 75, "prompt": 40})
    scoring: Mapping[str, int] = field(default_factory=lambda: {"batch": 16, "tokens": 75})
    decoding: Mapping[str, int] = field(default_factory=lambda: {"batch": 24, "tokens": 40, "new": 24})

    @cached_property
    def config(self) -> Any:
        """The config of transformers."""
        from transformers import AutoConfig

        return AutoConfig.for_model(self.model_type, **self.sizes, tie_word_embeddings=True)

    @property
    def words(self) -> str:
        read = self.config
        layers, width = read.num_hidden_layers, read.hidden_size
        return f"{self.model_type}, width {width}, {layers} layers, vocabulary {read.vocab_size}"

    @property
    def weights(self) -> torch.dtype:
        """The type of the weights on this machine."""
        return machine.weight_type(self.dtype)

    @property
    def chosen(self) -> tuple[int, ...]:
        """Four layers, the last one among them; three of a model with six."""
        return tuple(sorted({self.config.num_hidden_layers * place // 12 for place in (3, 4, 10, 11)}))

    def make(self, dtype: str | None = None, device: torch.device | None = None) -> nn.Module:
        """The frozen network, as Hugging Face has it, by default on this process's device."""
        from transformers import AutoModelForCausalLM

        torch.manual_seed(0)
        with device or machine.device():
            network = AutoModelForCausalLM.from_config(self.config, dtype=torch.bfloat16).requires_grad_(False).eval()
        return network.float() if machine.weight_type(dtype or self.dtype) == torch.float32 else network

    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.make("bfloat16", torch.device("meta")).parameters())


def _bloom(width: int, layers: int, heads: int, vocabulary: int, **more: Any) -> Geometry:
    sizes = {"hidden_size": width, "n_layer": layers, "n_head": heads, "vocab_size": vocabulary}
    return Geometry("bloom", sizes, **more)


SMALL = {  # the batches of the figures in docs/results.md
    "dtype": "bfloat16",
    "training": {"batch": 8, "tokens": 64, "prompt": 32},
    "scoring": {"batch": 8, "tokens": 64},
    "decoding": {"batch": 8, "tokens": 64, "new": 32},
}
GEOMETRIES = {
    "tiny": _bloom(128, 6, 4, 2560, **SMALL),  # the demo's base
    "bloom": _bloom(768, 12, 12, 8000, **SMALL),
    "bloom7b1": _bloom(4096, 30, 32, 250_880),
    "smollm2": Geometry(
        "llama",
        {
            "vocab_size": 49_152,
            "hidden_size": 576,
            "num_hidden_layers": 30,
            "intermediate_size": 1536,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
        },
    ),
    "gemma270": Geometry(
        "gemma3_text",
        {
            "vocab_size": 262_144,
            "hidden_size": 640,
            "num_hidden_layers": 18,
            "intermediate_size": 2048,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "head_dim": 256,
            "sliding_window": 512,
        },
    ),
}


HELP = {
    "batch": "sequences",
    "tokens": "of a sequence",
    "prompt": "tokens of it, not predicted",
    "new": "tokens to write",
}


def add_batch(parser: argparse.ArgumentParser, batch: str) -> None:
    """--geometry, and a flag for each size of its batch of `training`, `scoring` or `decoding`."""
    parser.add_argument("--geometry", choices=GEOMETRIES, default="bloom", help="shape of the model")
    parser.set_defaults(of=batch)
    for name in getattr(Geometry("", {}), batch):
        parser.add_argument(f"--{name}", type=int, help=f"{HELP[name]}; by default the geometry's")


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The command line; sizes of the batch that it lacks are the geometry's. `shape` is the geometry itself."""
    args = parser.parse_args()
    args.shape = GEOMETRIES[args.geometry]
    for name, value in getattr(args.shape, args.of).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    return args
