"""Write the model in a GGUF file as a plain folder that transformers reads, once.

transformers turns the quantised tensors of a GGUF file into float32. The folder holds these values, so it is what
llama.cpp computes with, up to rounding, and not the model before its quantisation.

Example:
    lander convert SmolLM2-135M-Instruct.Q4_1.gguf --out models/smollm2
"""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from lander.models.families import FAMILIES
from lander.models.tokens import save_tokenizer
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
            config = AutoConfig.from_pretrained(**where)
            if config.model_type not in FAMILIES:
                raise UserError(f"{file}: a model of type {config.model_type!r}; supported are {', '.join(FAMILIES)}")
            read = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(**where)
        except UserError:
            raise
        except Exception as error:  # readers of many formats, each with its own errors
            raise UserError(f"{file}: cannot be read as a model ({brief(error)}); download it again") from None
        config = read.config
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        network = type(read)(config)  # a fresh one: the one that was read remembers its quantisation
        network.load_state_dict(read.state_dict())
        network.save_pretrained(temporary)
        save_tokenizer(tokenizer, temporary)
