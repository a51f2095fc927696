"""Trainings in processes of their own: a folder to train in, and the command as the workflow gives it."""

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import torch
import toys
import warm
from safetensors.torch import load_file

from lander.shared import tables

ROOT = Path(__file__).parent.parent.parent
DIRECTIONS = ("en-de", "de-en", "en-fr")
WORDS = {"en": "one two six", "de": "eins zwei sechs", "fr": "un deux six", "it": "uno due sei"}
NAMES = {"en": "English", "de": "German", "fr": "French", "it": "Italian"}
KEPT = (str(Path(__file__).with_name("kept_finetune.py")),)


def dying(place: str) -> tuple[str, str]:
    """The entry of a training that is killed there."""
    return str(Path(__file__).with_name("dying_finetune.py")), place


def prepare(folder: Path, directions: Iterable[str], masks: dict[str, pd.DataFrame]) -> None:
    """A base of three layers, training pairs and masks, as the stages before would leave them."""
    toys.bloom(3, vocabulary=300).save_pretrained(folder / "base")
    toys.bloom_tokenizer().save_pretrained(folder / "base")
    for direction in directions:
        tables.write(folder / "train" / f"{direction}.parquet", pairs(direction), "train")
        tables.write(folder / "masks" / f"{direction}.parquet", masks[direction], "masks")


def pairs(direction: str) -> pd.DataFrame:
    """Twelve pairs of a direction, each template once."""
    source, target = (WORDS[code].split() for code in direction.split("-"))
    rows = [(source[i % 3], target[i % 3], i % 10, "toy", i) for i in range(12)]
    return pd.DataFrame(rows, columns=["source", "target", "template", "origin", "line"])


def finetune(
    folder: Path,
    out: str,
    *flags: str,
    method: str = "landermt",
    ranks: int = 1,
    check: bool = True,
    entry: tuple[str, ...] = ("-m", "lander.finetune"),
    directions: tuple[str, ...] = DIRECTIONS,
) -> subprocess.CompletedProcess:
    """Run the stage as the workflow does, in float32 unless the flags say otherwise; ranks that hang are ended."""
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", str(ranks)] if ranks > 1 else []
    command = [warm.python(), *launcher, *entry, "--method", method, "--model", "base"]
    command += ["--train", *(f"train/{d}.parquet" for d in directions), "--directions", *directions]
    command += ["--languages", json.dumps(NAMES), "--masks", "masks", "--out", out, "--batch-size", "2"]
    command += ["--precision", "float32", "--learning-rate", "0.01", *flags]
    options = {"cwd": folder, "env": warm.environment(ROOT), "text": True}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as process:
        try:
            said, told = process.communicate(timeout=900)
        except subprocess.TimeoutExpired:
            process.terminate()  # torchrun passes it on to its ranks
            raise
    assert not check or process.returncode == 0, told
    return subprocess.CompletedProcess(command, process.returncode, said, told)


def trained(folder: Path, out: str) -> dict[str, torch.Tensor]:
    """What a training of blocks has written."""
    return load_file(folder / out / "trained.safetensors")


def assert_frozen(folder: Path, out: str, ranks: int, dtype: torch.dtype, block: str, neurons: list[int]) -> None:
    """In the memory of each rank of a training by `KEPT`, what is not trained is the base's, to the bit.

    Args:
        block: beginning of the names of a block that no direction uses; `neurons` are its.
    """
    base, ffn = load_file(folder / "base" / "model.safetensors"), block.split("blocks")[0]
    base |= {f"{block}.up.{part}": base[f"{ffn}dense_h_to_4h.{part}"][neurons] for part in ("weight", "bias")}
    base[f"{block}.down.weight"] = base[f"{ffn}dense_4h_to_h.weight"][:, neurons]
    for rank in range(ranks):
        frozen = load_file(folder / f"{out}-kept" / f"{rank}.safetensors")
        assert {"transformer.word_embeddings.weight", f"{block}.down.weight"} <= frozen.keys()
        assert not [name for name, value in frozen.items() if not torch.equal(value, base[name].to(dtype))], rank
