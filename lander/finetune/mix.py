"""The average of a base and of the weights that `full` has trained from it, as an ordinary trained model.

    W = (1 - share) W_base + share W_tuned

Nothing is trained. It is the simplest remedy against forgetting (Wortsman et al. 2022, WiSE-FT), which others
must beat.

Reads:  <run>/finetune/full/main/s<seed>/, its base
Writes: <run>/finetune/full/mix<share>/s<seed>/   a plain model folder with a manifest

Example:
    python -m lander.finetune.mix --model results/demo/finetune/full/main/s0 --share 0.5 --out half
"""

import argparse
import shutil
from pathlib import Path

import torch

from lander.finetune import saved
from lander.models import loading
from lander.shared import machine
from lander.shared.errors import UserError, run_main
from lander.shared.files import whole_folder


@machine.on_cpu()
def main() -> None:
    """Read the model, average its weights with the base's, write the result as a model."""
    parser = argparse.ArgumentParser(prog="lander.finetune.mix", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="folder of a model of the method `full`")
    parser.add_argument("--share", type=float, required=True, help="of the tuned weights, 0 to 1")
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    args = parser.parse_args()
    if not 0 <= args.share <= 1:
        raise UserError(f"--share: {args.share} is not between 0 and 1")
    trained = saved.Trained(args.model)
    base, method = trained.manifest["base"], trained.manifest["method"]
    if not {"model", "weights"}.issuperset(trained.parts):
        raise UserError(f"--model: {args.model} was made by {method}, which has no weights of the base to average")
    with whole_folder(args.out) as folder:
        for path in args.model.iterdir():
            if path.is_file() and path.suffix in (".json", ".jinja") and path.name not in ("lander.json", "run.json"):
                shutil.copyfile(path, folder / path.name)
        for part in trained.parts:
            tuned = saved.PARTS[part].read(args.model)
            network = loading.load_model(base["path"], base["revision"], saved.type_of(tuned))
            for name, value in tuned.items():
                origin = network.get_parameter(name).float()
                tuned[name] = torch.lerp(origin, value.float(), args.share).to(value.dtype)
            saved.PARTS[part].save(folder, tuned, base)
        saved.write_manifest(folder, trained.manifest | {"mix": args.share})


if __name__ == "__main__":
    run_main(main, "mix")
