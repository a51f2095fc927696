"""What the workflow itself costs: planning the paper's experiments, finding that nothing is to do, and start-up.

    python -m benchmarks.workflow --run results/demo

- `dry_run_s`: seconds of `snakemake -n` for every experiment of config/paper.yaml, in an empty folder.
- `no_op_s`: the same command where each output is there already (empty files, marked as made by `--touch`).
- `startup_share`: of the seconds of a finished run's jobs (the benchmark files of --run, `s`), those in which a job
  starts Python and imports what its stage needs: for each job the seconds of a process that does only that, at most the
  job's own. To be measured on a machine as busy as it was for the run.
  `startup_share_cpu` is the same in CPU seconds, which a busy machine changes less. Snakemake itself is not in it.
"""

import argparse
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
from pathlib import Path

ROOT = Path(__file__).parent.parent
EXPERIMENTS = [
    *("table1", "table2", "transfer", "forgetting", "readings", "sweep_k", "sweep_epsilon", "estimators"),
    *("second_model", "clusters", "claims", "agreement", "figures_layers", "figures_awareness"),
]
BASE = "from transformers import BloomForCausalLM, AutoTokenizer; from lander.models import loading"
IMPORTS = {  # stage -> what each of its jobs imports sooner or later
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


def snakemake(folder: Path, *flags: str, configfile: Path, targets: list[str]) -> tuple[float, str]:
    """Seconds of a call of Snakemake in a folder, and what it printed."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow" / "Snakefile")]
    command += ["--directory", str(folder), "--cores", "2", "--configfile", str(configfile), *flags, "--", *targets]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    if done.returncode:
        sys.exit(f"snakemake {' '.join(flags)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - began, done.stdout + done.stderr


def planned(output: str) -> int:
    """Number of jobs in Snakemake's table of them; 0 where nothing is to do."""
    totals = [line.split()[1] for line in output.splitlines() if line.startswith("total ")]
    return int(totals[0]) if totals else 0


def pretend(folder: Path, configfile: Path, targets: list[str]) -> None:
    """Make an empty file of every output, marked as up to date.

    The summary has the outputs; the plan after that names what it does not have, benchmark files.
    """
    options = {"configfile": configfile, "targets": targets}
    create(folder, [line.split("\t")[0] for line in snakemake(folder, "--summary", **options)[1].splitlines()[1:]])
    snakemake(folder, "--touch", **options)
    for _ in range(5):
        _, plan = snakemake(folder, "--dry-run", **options)
        if not planned(plan):
            return
        create(folder, [name for names in MISSING.findall(plan) for name in names.split(", ")])
        snakemake(folder, "--touch", **options)
    sys.exit(f"{planned(plan)} jobs are left where every output is there:\n{plan[-2000:]}")


MISSING = re.compile(r"Missing output files: ([^;\n]*)")


def create(folder: Path, names: list[str]) -> None:
    """Empty files; what is no path of a result is left out."""
    for name in names:
        if name.startswith("results/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()


def planning(args: argparse.Namespace) -> dict[str, float]:
    """Medians over rounds of the dry run and the no-op run, and the numbers of their jobs."""
    found: dict[str, list[float]] = {"dry_run_s": [], "no_op_s": []}
    options = {"configfile": args.configfile.resolve(), "targets": args.targets}
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        if not args.without_no_op:
            pretend(Path(other), **options)
        for _ in range(args.rounds):
            seconds, output = snakemake(Path(one), "--dry-run", "--quiet", "rules", **options)
            found["dry_run_s"].append(seconds)
            if not args.without_no_op:
                found["no_op_s"].append(snakemake(Path(other), **options)[0])
    medians = {name: statistics.median(values) for name, values in found.items() if values}
    return {**medians, "jobs": planned(output)}


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
    add("--configfile", type=Path, default=ROOT / "config" / "paper.yaml")
    add("--targets", nargs="+", default=EXPERIMENTS, help="default: the experiments of the paper")
    add("--run", type=Path, help="folder of a finished run; without it no share of start-up")
    add("--rounds", type=int, default=3)
    add("--without-no-op", action="store_true", help="only the dry run")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    record = {"benchmark": "workflow", "machine": platform.machine(), **planning(args)}
    print(f"{args.configfile.name}, {len(args.targets)} targets, {record['jobs']} jobs, {args.rounds} rounds")
    print(f"dry run {record['dry_run_s']:.1f} s (at most 10), no-op run {record.get('no_op_s', float('nan')):.1f} s")
    if args.run:
        stages = startup(args.run, args.rounds)
        total = {key: sum(row[key] for row in stages.values()) for key in ("s", "cpu", "startup_s", "startup_cpu")}
        record["startup_share"] = total["startup_s"] / total["s"]
        record["startup_share_cpu"] = total["startup_cpu"] / total["cpu"]
        record["stages"] = stages
        print(f"start-up {record['startup_share']:.2f} of the jobs' seconds (at most 0.25)")
    print(json.dumps(record))


if __name__ == "__main__":
    main()
