"""Flags of the stages that run a model."""

import argparse
import json
from pathlib import Path

from lander.config.model import Model
from lander.shared.section import add_flags


def add_model_flags(parser: argparse.ArgumentParser, *, trained: bool = False, prompt: bool = True) -> None:
    """Add --model and how it is loaded: --revision, --dtype, --prompt; and --threads.

    Args:
        trained: whether --model may be the folder of a trained model, which records its prompt itself.
        prompt: whether the model is given instructions.
    """
    base = "a built-in name, a local folder or a hub id"
    what = f"a trained model's folder, or a base ({base})" if trained else f"the base: {base}"
    parser.add_argument("--model", required=True, help=what)
    add_flags(parser, Model, "revision", "dtype", *(["prompt"] if prompt else []))
    if trained:
        parser.set_defaults(prompt=None)
    parser.add_argument("--threads", type=int, default=1, help="torch threads, up to 1024 (default: 1)")


def add_prompt_flags(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add the names of the languages in instructions, and the file of the instruction templates."""
    parser.add_argument(
        "--languages", type=json.loads, required=required, default={}, help="JSON: code -> name in the prompts"
    )
    parser.add_argument("--templates", type=Path, help="YAML of instruction templates (default: the project's ten)")
