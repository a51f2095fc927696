"""Plain model folders that other programs read as they are, those too that know transformers 4 alone.

transformers 5 has put the settings of rotary positions into `rope_parameters`. Version 4 does not know this key and
takes its own defaults instead, without a word: another model. So the folder has both, and 5 reads its own. The same for
tokenizers: `save_tokenizer`.
"""

import json
from pathlib import Path
from typing import Any

from torch import nn

from lander.config.base import HUB_NAME
from lander.models.tokens import save_tokenizer
from lander.shared.files import write_json


def hub_id(base: str) -> tuple[str | None, str | None]:
    """Id and commit of a base on the hub, from its path: an id, or its folder in the hub's cache; None if unknown."""
    if HUB_NAME.fullmatch(base) and not Path(base).exists():
        return base, None
    parts = Path(base).parts
    if len(parts) > 2 and parts[-2] == "snapshots" and parts[-3].startswith("models--"):
        return parts[-3].removeprefix("models--").replace("--", "/", 1), parts[-1]
    return None, None


def save(network: nn.Module, tokenizer: Any, folder: Path) -> None:
    """Write a model and its tokenizer."""
    network.save_pretrained(folder)
    add_old_keys(folder)
    save_tokenizer(tokenizer, folder)


def add_old_keys(folder: Path) -> None:
    """Add the keys of transformers 4 to a config.json that 5 has written."""
    # not `read_json`: a seal would be of a file before this one
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    write_json(folder / "config.json", config | old_keys(config))


def old_keys(config: dict[str, Any]) -> dict[str, Any]:
    """What a config says of positions, in the keys of transformers 4."""
    rope = config.get("rope_parameters")
    if not rope:
        return {}
    rope, sliding = rope.get("full_attention", rope), rope.get("sliding_attention")  # of Gemma 3's two kinds of layers
    found = {"rope_theta": rope["rope_theta"]}
    if config["model_type"] == "gpt_neox":
        found = {"rotary_emb_base": rope["rope_theta"], "rotary_pct": rope.get("partial_rotary_factor", 1.0)}
    if rope.get("rope_type", "default") != "default":
        found["rope_scaling"] = {key: value for key, value in rope.items() if key != "rope_theta"}
    if sliding:
        found["rope_local_base_freq"] = sliding["rope_theta"]
    return found
