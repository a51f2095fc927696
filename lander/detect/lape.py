"""Masks from the neurons that LAPE publishes (Tang et al. 2024, github.com/RUCAIBox/Language-Specific-Neurons).

Their files (`BLOOM-7B.neuron.pth`, or what their identify.py writes to activation_mask/) are saved by torch: a list
over languages of lists over layers of tensors of neuron numbers. Neurons are numbered as here: hidden units of a
layer's FFN, that is rows of `dense_h_to_4h` or `gate_proj`. Their own files have the languages en zh fr es vi id ja.

A neuron that no language has is general; one may have several owners. All scales are 1.

    masks_from_lape("BLOOM-7B.neuron.pth", ["en", "zh", "fr", "es", "vi", "id", "ja"], "bigscience/bloom-7b1",
                    [Direction("en", "zh")], "masks", layers=[26, 27, 28, 29])

Writes: <out>/<direction>.parquet, a folder for `neurons.masks`
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from lander.config.base import find_folder
from lander.detect import masks, neurons
from lander.models import families
from lander.shared import tables
from lander.shared.errors import UserError, brief
from lander.shared.languages import Direction
from lander.shared.tables import GENERAL, SPECIFIC

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)  # torch's empty tensor has none of them


def masks_from_lape(
    path: str | Path,
    languages: list[str],
    base: str,
    directions: Sequence[Direction],
    out: str | Path,
    layers: list[int] | None = None,
) -> None:
    """Write a mask per direction, and say how many neurons they have.

    Args:
        languages: codes, in the file's order.
        base: the model whose neurons they are: built-in name, local folder or hub id.
        layers: those that the masks are for, which are trained; all by default.
    """
    if twice := [code for code in languages if languages.count(code) > 1]:
        raise UserError(f"--languages: {twice[0]} is given twice; name each of the file's languages once")
    for direction in directions:
        if missing := [code for code in (direction.source, direction.target) if code not in languages]:
            raise UserError(f"--directions: {direction}: {path} has no neurons of {', '.join(missing)}; leave it out")
    shape = shape_of(base)
    if beyond := [layer for layer in layers or () if not 0 <= layer < shape[0]]:
        raise UserError(f"--layers: {beyond[0]}: {base} has the layers 0 to {shape[0] - 1}")
    owned = read(path, languages, shape)
    kind = np.where(owned.any(axis=0), SPECIFIC, GENERAL).astype(object)
    table = masks.joined(neurons.table_of(neurons.Classes(np.zeros(owned.shape), kind, owned), languages))
    chosen = list(range(shape[0])) if layers is None else sorted(set(layers))
    for direction in directions:
        mask = masks.direction_mask(table, np.zeros(shape), chosen, direction, masks.Rules(gate="off"))
        tables.write(Path(out) / f"{direction}.parquet", mask, "masks")
    counts = zip(languages, owned[:, chosen].sum(axis=(1, 2)), strict=True)
    owners = ", ".join(f"{code} {count:,}" for code, count in counts)
    where = "1 layer" if len(chosen) == 1 else f"{len(chosen)} layers"
    print(f"neurons in {where}: {owners}; masks of {', '.join(map(str, directions))}: {out}")


def shape_of(base: str) -> tuple[int, int]:
    """(n_layer, p) of a model, from its config alone."""
    from transformers import AutoConfig, AutoModelForCausalLM

    where = str(find_folder(base) or base)  # of a model on the hub the config alone is fetched
    try:
        config = AutoConfig.from_pretrained(where, trust_remote_code=False)
        with torch.device("meta"):
            network = AutoModelForCausalLM.from_config(config)
    except Exception as error:  # a config can be wrong in many ways
        raise UserError(f"--model: {base}: its config makes no model ({brief(error)})") from None
    return families.shape_of(network)


def read(path: str | Path, languages: list[str], shape: tuple[int, int]) -> np.ndarray:
    """Which language owns which neuron, bool (language, n_layer, p). Nothing in the file is executed."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except Exception:  # torch's reader fails in many ways on other files
        raise UserError(f"{path}: not a file of tensors that torch can load safely (weights_only)") from None
    n_layer, p = shape
    if not isinstance(content, list) or not all(isinstance(one, list) for one in content):
        raise UserError(f"{path}: not LAPE's format, a list over languages of lists over layers of neuron numbers")
    if len(content) != len(languages):
        raise UserError(f"--languages: {len(languages)} given, but {path} has {len(content)}; name them in its order")
    owned = np.zeros((len(languages), n_layer, p), dtype=bool)
    for index, of_language in enumerate(content):
        if len(of_language) != n_layer:
            raise UserError(f"{path}: {len(of_language)} layers, but the model has {n_layer}: neurons of another model")
        for layer, numbers in enumerate(of_language):
            try:
                numbers = torch.as_tensor(numbers).reshape(-1)
            except (TypeError, ValueError, RuntimeError):
                numbers = torch.ones(1)
            if len(numbers) and numbers.dtype not in INTEGERS:
                raise UserError(
                    f"{path}: layer {layer} of language {index} is no list of neuron numbers, which are integers"
                )
            numbers = numbers.long().numpy()
            if beyond := numbers[(numbers < 0) | (numbers >= p)][:1].tolist():
                raise UserError(f"{path}: layer {layer} has neuron {beyond[0]}, but the model has {p} a layer")
            owned[index, layer, numbers] = True
    return owned
