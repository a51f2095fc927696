"""Shared by all tests: no network, one thread, and `toys` on the path from every folder."""

import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

import hypothesis
import pytest

hypothesis.settings.register_profile("lander", deadline=None)  # tests never assert on time
hypothesis.settings.load_profile("lander")


@pytest.fixture
def command(monkeypatch):
    """A function that runs a module's `main` with flags: command(neurons, "--layers", file)."""

    def run(module, *flags) -> None:
        monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, flags)])
        module.main()

    return run
