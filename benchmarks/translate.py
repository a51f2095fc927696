"""What decoding costs: a routed model and its exported direction beside the base with its own `generate`.

    python -m benchmarks.translate

Measured: `base` is a BLOOM of random weights as Hugging Face loads it, with its `generate`, the peer. `routed` is the
same base with blocks of neurons, through `lander.load` and the translator's decoding. `export` is that model's
direction, written by `lander.share.export` and loaded as a plain model, with `generate`. All write the same number of
tokens for the same prompts, greedily (no row may end early), so their seconds can be compared. Ratios are of tokens/s,
medians over rounds.

Bound: 1.0, because without absent neurons all systems make the same products. With --absent the routed model skips a
share of the FFNs of the chosen layers.
JSON: `routed_vs_base`, `export_vs_base`, `seconds`, `flops`, `device`.
"""

import argparse
import json
import platform
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

import lander
from benchmarks import _training as training
from benchmarks._measuring import measure, ratio
from lander.config.masks import Routing
from lander.finetune import saved
from lander.finetune.methods import linear_maps, prepare
from lander.models import loading
from lander.models.families import ffn_of
from lander.share import export
from lander.shared import machine
from lander.translate.translator import Decoding

ROUTED, BASE, EXPORT = "routed", "base", "export"


def write_models(folder: Path, size: training.Size, chosen: tuple[int, ...]) -> None:
    """folder/base, folder/routed and folder/export."""
    from transformers import BloomConfig, BloomForCausalLM

    torch.manual_seed(0)
    config = BloomConfig(vocab_size=size.vocabulary, hidden_size=size.width, n_layer=size.layers, n_head=size.heads)
    codec = loading.load_codec("lander-tiny")
    BloomForCausalLM(config).save_pretrained(folder / BASE)
    codec.tokenizer.save_pretrained(folder / BASE)
    network = loading.load_model(str(folder / BASE), dtype="float32")
    masks = training.masks(ffn_of(network, 0).n_neurons, chosen, size.absent)
    prepared = prepare("landermt", network, masks=masks, routing=Routing(), scope="ffn")
    manifest = {
        "method": "landermt",
        "seed": 0,
        "base": {"path": str(folder / BASE), "revision": None, "digest": loading.digest(str(folder / BASE))},
        "directions": list(masks),
        "languages": {"en": "English", "de": "German", "fr": "French"},
        "templates": ["{source}\n"],
        "masked": list(masks),
        "routing": {"scale": "output", "gate": "learned"},
        "sizes": prepared.sizes,
    }
    masters = {name: parameter.detach().clone() for name, parameter in prepared.trained().items()}
    saved.save(folder / ROUTED, prepared, masters, codec, masks, manifest)
    export.export(folder / ROUTED, training.DIRECTION, folder / EXPORT)


def systems(folder: Path, size: training.Size, new: int, dtype: str) -> dict[str, Callable[[], object]]:
    """Name -> decode one batch: a call writes size.rows x new tokens."""
    from transformers import AutoModelForCausalLM

    ids = torch.randint(4, 2000, (size.rows, size.tokens), generator=torch.Generator().manual_seed(0))
    translator = lander.load(folder / ROUTED, dtype=dtype)
    translator.route(training.DIRECTION)
    translator.network.generation_config.min_new_tokens = new  # the library's processor forbids the end token
    prompts = ids.tolist()
    found: dict[str, Callable[[], object]] = {}
    for name in (BASE, EXPORT):
        network = AutoModelForCausalLM.from_pretrained(folder / name, dtype=machine.weight_type(dtype))
        found[name] = generation(network.eval().requires_grad_(False).to(machine.device()), ids, new)
    found[ROUTED] = lambda: translator.generate(prompts, Decoding(max_new_tokens=new))
    return found


def generation(network: nn.Module, ids: torch.Tensor, new: int) -> Callable[[], torch.Tensor]:
    """A model's own greedy `generate`."""
    ids = ids.to(machine.device())
    options = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False, "attention_mask": torch.ones_like(ids)}

    @torch.inference_mode()
    def run() -> torch.Tensor:
        return network.generate(ids, **options)

    return run


def flops(folder: Path, size: training.Size, new: int) -> int:
    """Of the base's linear maps; the head runs where a token is written."""
    network = loading.load_model(str(folder / BASE), dtype="float32")
    inside = sum(part.weight.numel() for part in linear_maps(network).values())
    head = network.get_output_embeddings().weight.numel()
    return 2 * size.rows * ((size.tokens + new - 1) * inside + new * head)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.translate", description=__doc__.splitlines()[0])
    training.add_geometry(parser)
    add = parser.add_argument
    add("--threads", type=int, default=1)
    add("--rounds", type=int, default=7)
    add("--new", type=int, default=32, help="tokens to write")
    add("--dtype", choices=["auto", "float32", "bfloat16"], default="float32")
    add("--chosen", type=training.layer_list, default=(3, 4, 10, 11), help="layers, as 3,4,10,11")
    args = parser.parse_args()
    machine.prepare(args.threads)
    size = training.size_of(args)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_models(folder, size, args.chosen)
        seconds = measure(systems(folder, size, args.new, args.dtype), args.rounds)
        operations = flops(folder, size, args.new)
    written = size.rows * args.new
    print(f"BLOOM, width {size.width}, {size.layers} layers, vocabulary {size.vocabulary}, {args.dtype}, batch")
    print(
        f"{size.rows}, prompts of {size.tokens} tokens, {args.new} new ones, {operations / 1e9:.1f} GFLOP of the base,"
    )
    print(f"{args.threads} thread(s), {machine.device()}, {args.rounds} rounds; bound: 1.0 x")
    print(f"{'system':<10}{'median s':>10}{'tokens/s':>10}{'GFLOP/s':>10}{'x base':>9}")
    for name, values in seconds.items():
        median = statistics.median(values)
        row = f"{name:<10}{median:>10.4f}{written / median:>10,.0f}{operations / median / 1e9:>10.1f}"
        print(f"{row}{ratio(seconds[BASE], values):>9.3f}")
    record = {
        "benchmark": "translate",
        "machine": platform.machine(),
        "device": str(machine.device()),
        "routed_vs_base": ratio(seconds[BASE], seconds[ROUTED]),
        "export_vs_base": ratio(seconds[BASE], seconds[EXPORT]),
        "seconds": {name: statistics.median(values) for name, values in seconds.items()},
        "flops": operations,
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
