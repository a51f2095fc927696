"""Write the effective config of a run, for the reader of its results.

python -m lander.config --effective '{"run": "demo"}' --out results/demo/config.yaml
"""

import argparse
import json
from pathlib import Path

import yaml

from lander.shared.errors import run_main
from lander.shared.files import write_text


def main() -> None:
    """Turn the JSON that the workflow passes on into YAML."""
    parser = argparse.ArgumentParser(prog="lander.config", description="Write the effective config as YAML.")
    parser.add_argument("--effective", required=True, help="the config, every key filled in, as JSON")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    text = yaml.safe_dump(json.loads(args.effective), sort_keys=False, allow_unicode=True, width=120)
    write_text(args.out, "# Written by the workflow: every key with the value that the run used.\n" + text)


if __name__ == "__main__":
    run_main(main, "config")
