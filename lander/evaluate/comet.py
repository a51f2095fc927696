"""What COMET needs from the network beside its model: an environment of its own, and its encoder's tokenizer.

COMET's pins clash with ours, so it is installed apart (workflow/envs/comet.txt). A checkpoint holds the weights of the
encoder that it was trained from and names it (`pretrained_model` in hparams.yaml); the encoder's tokenizer and settings
are read from the hub's cache.
"""

import re
import subprocess
import sys
from pathlib import Path

from lander.shared.errors import UserError
from lander.shared.files import shipped

SETTINGS = "hparams.yaml"
ENCODER = re.compile(r"""^pretrained_model:\s*['"]?([\w./-]+)""", re.MULTILINE)


def make_environment(folder: Path) -> None:
    """Install COMET into a Python environment; what stands in the folder is removed.

    Raises:
        UserError: Python has no venv, or pip fails.
    """
    new = [sys.executable, "-m", "venv", "--clear", folder]
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--disable-pip-version-check"]
    for command in (new, [*pip, "--requirement", shipped("workflow/envs/comet.txt")]):
        if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=2, check=False).returncode:
            raise UserError(f"{folder}: COMET cannot be installed there; what Python said stands above")


def encoder(settings: Path) -> str | None:
    """The hub's name of the encoder that a checkpoint's hparams.yaml names."""
    found = ENCODER.search(settings.read_text(encoding="utf-8", errors="replace"))
    return found[1] if found else None


def settings_of(checkpoint: str) -> Path:
    """hparams.yaml of a local checkpoint: the hub's folder, or checkpoints/model.ckpt in it."""
    path = Path(checkpoint).absolute()
    return (path if path.is_dir() else path.parent.parent) / SETTINGS
