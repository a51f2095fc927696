"""What decoding costs: a routed model and its exported direction beside the base with its own `generate`.

    python -m benchmarks.translate
    python -m benchmarks.translate --geometry gemma270

Measured: `base` is a model of random weights as Hugging Face loads it, with its `generate`, the peer. `routed` is the
same base with blocks of neurons, through `lander.load` and the translator's decoding. `export` is that model's
direction, written by `lander.share.export` and loaded as a plain model, with `generate`. All write the same number of
tokens for the same prompts, greedily (no row may end early), so their seconds can be compared. Ratios are of tokens/s,
medians over rounds.

Bound: 1.0, because without absent neurons all systems make the same products. With --absent the routed model skips a
share of the FFNs of the chosen layers.
`vs_library` is of `routed` against `base` with weights of the same type, the lower of both types; `vs_library_float32`
and `vs_library_bfloat16` are each. `routed_vs_base` and `export_vs_base` are of the first type (--dtypes), and
`bf16_vs_fp32` compares `routed` with itself.
JSON: `routed_vs_base`, `export_vs_base`, `vs_library`, `bf16_vs_fp32`, `seconds`, `flops`, `device`.
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
from benchmarks._geometry import add_batch, parse
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
    codec = loading.load_codec("lander-tiny")
    size.shape.make("bfloat16").save_pretrained(folder / BASE)
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
    """Name -> decode one batch with weights of a type: a call writes size.rows x new tokens."""
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
    return {f"{name} {dtype}": run for name, run in found.items()}


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


def ratios(seconds: dict[str, list[float]], dtypes: list[str]) -> dict[str, float]:
    """The JSON keys; `bf16_vs_fp32` if both types were measured."""
    library = {dtype: ratio(seconds[f"{BASE} {dtype}"], seconds[f"{ROUTED} {dtype}"]) for dtype in dtypes}
    found = {f"vs_library_{dtype}": value for dtype, value in library.items()}
    found |= {"vs_library": min(library.values()), "routed_vs_base": library[dtypes[0]]}
    found["export_vs_base"] = ratio(seconds[f"{BASE} {dtypes[0]}"], seconds[f"{EXPORT} {dtypes[0]}"])
    if {"float32", "bfloat16"} <= set(dtypes):
        found["bf16_vs_fp32"] = ratio(seconds[f"{ROUTED} float32"], seconds[f"{ROUTED} bfloat16"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.translate", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--threads", type=int, default=1)
    add("--rounds", type=int, default=7)
    add("--dtypes", nargs="+", choices=["float32", "bfloat16"], default=["float32", "bfloat16"])
    add("--chosen", type=training.layer_list, help="layers, as 3,4,10,11")
    add("--absent", type=float, default=0.0, help="share of neurons of other languages, which do not run")
    add_batch(parser, "decoding")
    args = parse(parser)
    machine.prepare(args.threads)
    size = training.Size(args.shape, args.batch, args.tokens, 0, args.absent)
    with tempfile.TemporaryDirectory() as temporary:
        folder, found = Path(temporary), {}
        write_models(folder, size, args.chosen or args.shape.chosen)
        for dtype in args.dtypes:
            found |= systems(folder, size, args.new, dtype)
        seconds = measure(found, args.rounds)
        operations = flops(folder, size, args.new)
    written = size.rows * args.new
    print(f"{size.shape.words}, batch {size.rows},")
    print(
        f"prompts of {size.tokens} tokens, {args.new} new ones, {operations / 1e9:.1f} GFLOP of the base,\n"
        f"{args.threads} thread(s), {machine.device()}, {args.rounds} rounds; bound: 1.0 x"
    )
    print(f"{'system':<18}{'median s':>10}{'tokens/s':>10}{'GFLOP/s':>10}{'x base':>9}")
    for name, values in seconds.items():
        median, base = statistics.median(values), seconds[f"{BASE} {name.split()[1]}"]
        row = f"{name:<18}{median:>10.4f}{written / median:>10,.0f}{operations / median / 1e9:>10.1f}"
        print(f"{row}{ratio(base, values):>9.3f}")
    record = {
        "benchmark": "translate",
        "geometry": args.geometry,
        "machine": platform.machine(),
        "device": str(machine.device()),
        **ratios(seconds, args.dtypes),
        "seconds": {name: statistics.median(values) for name, values in seconds.items()},
        "flops": operations,
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
