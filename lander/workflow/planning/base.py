"""The base as a network without weights, from its config.json alone."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lander.config import config
from lander.models import families
from lander.shared.errors import UserError, brief


@dataclass(frozen=True)
class Shape:
    """Sizes of a base."""

    parameters: int
    n_layer: int
    d_model: int
    n_neurons: int
    gated: bool
    heads: int
    kv_width: int  # of keys, and of values, of a layer
    vocabulary: int


def network_maker(settings: config.Config) -> Callable[[], nn.Module]:
    """A function that makes the base on the meta device, anew each time: methods take it apart.

    Raises:
        UserError: there is no config.json that can be read, or it says nothing that is known.
    """
    read = base_config(settings)
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")  # of libraries, about each other

    def make() -> nn.Module:
        from transformers import AutoModelForCausalLM

        try:
            with torch.device("meta"):
                network = AutoModelForCausalLM.from_config(read)
        except Exception as error:  # what a config can say wrong has no end
            reason = brief(error, 200)
            raise UserError(f"model.path: {settings.model.path}: its config.json makes no model ({reason})") from None
        return network.eval().requires_grad_(False)

    return make


def base_config(settings: config.Config) -> Any:
    """The base's config, without any download.

    Raises:
        UserError: it is not on this machine.
    """
    from transformers import AutoConfig, BloomConfig

    base = config.find_base(settings.model.path, settings.pretrain.n_layer)
    if base.kind == "pretrain":
        made = settings.pretrain
        return BloomConfig(
            vocab_size=made.vocabulary, hidden_size=made.d_model, n_layer=made.n_layer, n_head=made.n_head
        )  # fmt: skip
    where = str(base.folder) if base.folder else settings.model.path
    revision = None if base.folder else settings.model.revision
    try:
        return AutoConfig.from_pretrained(where, revision=revision, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        if base.folder is None:
            at = f" --revision {revision}" if revision else ""
            raise UserError(
                f"model.path: {where}: its config.json is not in this machine's cache of the hub, and a plan downloads "
                f"nothing; fetch these few kB first: hf download {where} config.json{at}"
            ) from None
        reason = brief(error, 200)
        raise UserError(f"model.path: {where}: its config.json is not that of a model ({reason})") from None


def shape_of(network: nn.Module) -> Shape:
    """Sizes of a base.

    Raises:
        UserError: a family that is not supported.
    """
    read, ffn = network.config.get_text_config(), families.ffn_of(network, 0)
    d_model, heads = ffn.down.out_features, read.num_attention_heads
    width = getattr(read, "head_dim", None) or d_model // heads
    return Shape(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        n_layer=len(families.layers_of(network)),
        d_model=d_model,
        n_neurons=ffn.n_neurons,
        gated=ffn.gate is not None,
        heads=heads,
        kv_width=(getattr(read, "num_key_value_heads", None) or heads) * width,
        vocabulary=network.get_output_embeddings().weight.shape[0],
    )
