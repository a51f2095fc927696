"""What the workflow itself costs: planning all experiments of each ready config, finding nothing to do, and start-up.

    python -m benchmarks.workflow
    python -m benchmarks.workflow --run results/demo     # start-up too; demo is a finished run

- `dry_run_s`: seconds of `snakemake -n` for all experiments that a config can plan, in an empty folder. The experiments
  that it cannot plan are named, each in one line with the reason. Text and models that a config reads but does not
  bring are empty stand-ins.
- `no_op_s`: seconds of `snakemake` for the same targets of one config (--no-op) where every output exists already
  (empty files, marked as made by `--touch`).
- `startup_share`: of the seconds of a finished run's jobs (column `s` of its benchmark files), the share in which a job
  starts Python and imports what its stage needs. That is the time of a process that does nothing else, at most the
  job's own. Measure it on a machine as busy as it was during the run. `startup_share_cpu` is the same in CPU seconds,
  which depend less on what else runs. The time of Snakemake itself is not included.

Bounds, set by us: at most 10 s for the dry run of config/paper.yaml (about 600 jobs), and at most a quarter of the
jobs' seconds for start-up. Peers: none; most of a dry run is Snakemake's own work.
JSON: `configs` (name -> dry_run_s, jobs, left_out, no_op_s); with --run also startup_share, startup_share_cpu, stages.
"""

import argparse
import contextlib
import csv
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lander.config import config
from lander.shared.yamlfile import read_yaml
from lander.workflow import Plan
from lander.workflow.experiments import ABOUT

ROOT = Path(__file__).parent.parent
ANALYSES = ("clusters", "claims", "agreement", "figures_layers", "figures_awareness")
EXPERIMENTS = (*ABOUT, *ANALYSES)
READY = [ROOT / "config.yaml", *sorted(path for path in ROOT.glob("config/*.yaml") if path.stem != "defaults")]
BASE = "from transformers import BloomForCausalLM, AutoTokenizer; from lander.models import loading"
IMPORTS = {  # stage -> what its jobs import
    "data": "import lander.data.__main__, lander.data.cleaning",
    "activations": f"import lander.detect.activations; {BASE}",
    "layers": "import lander.detect.layers",
    "awareness": f"import lander.detect.awareness; {BASE}",
    "neurons": "import lander.detect.neurons",
    "masks": "import lander.detect.masks",
    "finetune": f"import lander.finetune.__main__, deepspeed; {BASE}",
    "loss": f"import lander.translate.loss; {BASE}",
    "translate": f"import lander.translate.__main__; {BASE}",
    "evaluate": "import lander.evaluate.__main__, sacrebleu",
    "report": "import lander.report.__main__, matplotlib.figure",
}


def prepare(folder: Path, configfile: Path) -> None:
    """Write empty stand-ins for the text and the model that a config reads and that are not in the repository."""
    raw = read_yaml(configfile)
    for name in text_files(raw):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    if raw["model"]["path"].count("/") > 1:  # a folder; an id of the hub is owner/name
        model = folder / raw["model"]["path"]
        model.mkdir(parents=True)
        (model / "config.json").write_text('{"model_type": "llama", "num_hidden_layers": 32}', encoding="utf-8")
        (model / "model.safetensors").write_bytes(b"weights")


def text_files(node: Any) -> Iterator[str]:
    """The files that the sources of a config name."""
    if isinstance(node, list):
        for item in node:
            yield from text_files(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "files":
                yield from value.values()
            elif key in ("tsv", "tmx"):
                yield value
            else:
                yield from text_files(value)


def refusals(folder: Path, configfile: Path, targets: list[str]) -> dict[str, str]:
    """Experiment -> why the config cannot plan it."""
    with contextlib.chdir(folder):  # paths in a config are relative to the folder that the run is in
        experiments = Plan(config.read(configfile)).experiments
    whys = {name: experiments.refusal(name) for name in targets}
    return {name: why for name, why in whys.items() if why}


def snakemake(folder: Path, *flags: str, configfile: Path, targets: list[str]) -> tuple[float, str]:
    """Seconds of a call of Snakemake in a folder, and what it printed."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow" / "Snakefile")]
    command += ["--directory", str(folder), "--cores", "2", "--configfile", str(configfile), *flags, "--", *targets]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    if done.returncode:
        sys.exit(f"{configfile.name}: snakemake failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - began, done.stdout + done.stderr


def planned(output: str) -> int:
    """Number of jobs in Snakemake's table of them; 0 if there is nothing to do."""
    totals = [line.split()[1] for line in output.splitlines() if line.startswith("total ")]
    return int(totals[0]) if totals else 0


def pretend(folder: Path, **options: Any) -> None:
    """Make an empty file of every output, marked as up to date.

    Snakemake's summary lists the outputs. Its plan then names what is still missing, the benchmark files.
    """
    create(folder, [line.split("\t")[0] for line in snakemake(folder, "--summary", **options)[1].splitlines()[1:]])
    snakemake(folder, "--touch", **options)
    for _ in range(5):
        _, plan = snakemake(folder, "--dry-run", **options)
        if not planned(plan):
            return
        missing = re.findall(r"Missing output files: ([^;\n]*)", plan)
        create(folder, [name for names in missing for name in names.split(", ")])
        snakemake(folder, "--touch", **options)
    sys.exit(f"{planned(plan)} jobs are left although every output exists:\n{plan[-2000:]}")


def create(folder: Path, names: list[str]) -> None:
    """Empty files; what is not the path of a result is left out."""
    for name in names:
        if name.startswith("results/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()


def planning(configfile: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Of one config: seconds of the dry run, jobs, what is left out, and for --no-op seconds of the no-op run."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder, configfile)
        left_out = refusals(folder, configfile, args.targets)
        options = {"configfile": configfile, "targets": [name for name in args.targets if name not in left_out]}
        runs = [snakemake(folder, "--dry-run", "--quiet", "rules", **options) for _ in range(args.rounds)]
        found = {"dry_run_s": statistics.median(seconds for seconds, _ in runs), "jobs": planned(runs[0][1])}
        if configfile.stem == args.no_op:
            pretend(folder, **options)
            found["no_op_s"] = statistics.median(snakemake(folder, **options)[0] for _ in range(args.rounds))
    return {**found, "left_out": left_out}


def jobs_of(run: Path) -> dict[str, list[tuple[float, float]]]:
    """Stage -> (seconds, seconds of CPU) of each job of a finished run."""
    found: dict[str, list[tuple[float, float]]] = {}
    for file in sorted(run.glob("benchmarks/**/*.tsv")):
        stage = file.relative_to(run / "benchmarks").parts[0].removesuffix(".tsv")
        for row in csv.DictReader(file.open(encoding="utf-8"), delimiter="\t"):
            cpu = row["cpu_time"] if row["cpu_time"] not in ("NA", "-", "") else row["s"]
            found.setdefault(stage, []).append((float(row["s"]), float(cpu)))
    return found


def start(stage: str, rounds: int) -> tuple[float, float]:
    """Seconds, and seconds of CPU, of a process that imports what a stage's jobs import; medians."""
    wall, cpu = [], []
    for _ in range(rounds):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([sys.executable, "-c", IMPORTS.get(stage, BASE)], cwd=ROOT, check=True)
        wall.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(wall), statistics.median(cpu)


def startup(run: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Stage -> number of jobs, their seconds and those of start-up, wall and CPU; printed as a table."""
    found = {}
    print(f"{'stage':<14}{'jobs':>6}{'seconds':>10}{'start-up':>10}{'share':>8}{'of CPU':>8}")
    for stage, jobs in jobs_of(run).items():
        wall, cpu = start(stage, rounds)
        row = {"jobs": len(jobs), "s": sum(s for s, _ in jobs), "cpu": sum(c for _, c in jobs)}
        row["startup_s"] = sum(min(wall, s) for s, _ in jobs)
        row["startup_cpu"] = sum(min(cpu, c) for _, c in jobs)
        found[stage] = row
        line = f"{stage:<14}{len(jobs):>6}{row['s']:>10.1f}{row['startup_s']:>10.1f}"
        print(f"{line}{row['startup_s'] / row['s']:>8.2f}{row['startup_cpu'] / max(row['cpu'], 1e-9):>8.2f}")
    return found


def parse_args() -> argparse.Namespace:
    """The flags of the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.workflow", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--configfiles", type=Path, nargs="+", default=READY, help="default: the ready configs")
    add("--targets", nargs="+", default=EXPERIMENTS, help="default: all experiments and analyses")
    add("--no-op", default="paper", help="name of the config whose no-op run is timed; '' for none")
    add("--run", type=Path, help="folder of a finished run, for the share of start-up")
    add("--rounds", type=int, default=3)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    print(f"{len(args.targets)} targets, {args.rounds} rounds; bound: 10 s for the dry run of paper")
    print(f"{'config':<16}{'jobs':>6}{'dry run s':>11}{'no-op s':>9}")
    configs = {}
    for path in args.configfiles:
        configs[path.stem] = found = planning(path.resolve(), args)
        no_op = f"{found['no_op_s']:>9.1f}" if "no_op_s" in found else ""
        print(f"{path.stem:<16}{found['jobs']:>6}{found['dry_run_s']:>11.1f}{no_op}")
        for name, why in found["left_out"].items():
            print(f"  without {name}: {why}")
    record = {"benchmark": "workflow", "machine": platform.machine(), "configs": configs}
    if args.run:
        stages = startup(args.run, args.rounds)
        total = {key: sum(row[key] for row in stages.values()) for key in ("s", "cpu", "startup_s", "startup_cpu")}
        record["startup_share"] = total["startup_s"] / total["s"]
        record["startup_share_cpu"] = total["startup_cpu"] / total["cpu"]
        record["stages"] = stages
        print(f"start-up takes {record['startup_share']:.2f} of the jobs' seconds (at most 0.25)")
    print(json.dumps(record))


if __name__ == "__main__":
    main()
