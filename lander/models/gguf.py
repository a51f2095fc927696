"""Write the model in a GGUF file as a plain folder that transformers reads, once.

transformers turns the quantised tensors of a GGUF file into float32. The folder holds these values, so it is what
llama.cpp computes with, up to rounding, and not the model before its quantisation. What transformers would leave out
in silence (tensors, scaled positions) is refused.

Example:
    lander convert SmolLM2-135M-Instruct.Q4_1.gguf --out models/smollm2
"""

from pathlib import Path
from typing import Any

import gguf
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from lander.config.families import unsupported
from lander.models import plain
from lander.models.loading import check_numbers
from lander.shared.errors import UserError, brief
from lander.shared.files import whole_folder

MAGIC = b"GGUF"


def convert(file: Path, out: Path) -> None:
    """Write a GGUF file as a model folder, whole or not at all: config, float32 weights, tokenizer."""
    logging.disable_progress_bar()
    with file.open("rb") as stream:
        if stream.read(len(MAGIC)) != MAGIC:
            raise UserError(f"{file}: not a GGUF file; give a *.gguf file, or the folder of a Baichuan model")
    where: dict[str, Any] = {"pretrained_model_name_or_path": file.parent.absolute(), "gguf_file": file.name}
    with whole_folder(out, new=True) as temporary:
        try:
            reader = gguf.GGUFReader(file)
            _check_facts(file, {name: field.contents() for name, field in reader.fields.items()})
            config = AutoConfig.from_pretrained(**where)
            if reason := unsupported({"model_type": config.model_type}):
                raise UserError(f"{file}: {reason}")
            read, report = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32, output_loading_info=True)
            tokenizer = AutoTokenizer.from_pretrained(**where)
        except UserError:
            raise
        except Exception as error:  # readers of many formats, each with its own errors
            advice = "take another model" if "not supported" in str(error) else "download it again"
            raise UserError(f"{file}: cannot be read as a model ({brief(error)}); {advice}") from None
        if lacking := sorted(report["missing_keys"]):  # they have random values
            raise UserError(f"{file}: {len(lacking):,} of its weights are missing, as {lacking[0]}; download it again")
        if more := _left_out(reader, read):
            raise UserError(
                f"{file}: transformers reads the file without {len(more):,} of its tensors ({', '.join(more[:3])}), so "
                "it would be another model; take the model in the format of transformers"
            )
        check_numbers(dict(read.named_parameters()), str(file))
        config = read.config
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        network = type(read)(config)  # a fresh one: the one that was read remembers its quantisation
        network.load_state_dict(read.state_dict())
        plain.save(network, tokenizer, temporary)


def _check_facts(file: Path, facts: dict[str, Any]) -> None:
    """UserError for what transformers does not read: a file that is a part of several, scaled positions."""
    if (parts := facts.get("split.count", 1)) > 1:
        raise UserError(
            f"{file}: one of {parts} files of a model; join them with llama.cpp's `llama-gguf-split --merge`, and "
            "convert the result"
        )
    for name, value in facts.items():
        if name.endswith((".rope.scaling.factor", ".rope.scale_linear")) and value != 1:
            raise UserError(
                f"{file}: its positions are scaled ({name}: {value}), which transformers does not read from a GGUF "
                "file; take the model in the format of transformers"
            )


def _left_out(reader: gguf.GGUFReader, network: nn.Module) -> list[str]:
    """The tensors of a file that have no place in the network, by llama.cpp's own table of names."""
    architecture = reader.fields["general.architecture"].contents()
    [kind] = [kind for kind, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture]
    names = gguf.get_tensor_name_map(kind, network.config.num_hidden_layers)
    known = {names.get_name(name, (".weight", ".bias")) for name in network.state_dict()}
    return [
        tensor.name
        for tensor in reader.tensors
        if tensor.name not in known and not (tensor.name == "rope_freqs.weight" and (tensor.data == 1).all())
    ]
