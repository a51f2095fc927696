"""`lander run`: Snakemake on Lander's workflow, started in this process with what each run would otherwise repeat.

The command line is Snakemake's, but that a file in YAML is a config file wherever it stands:

    lander run mine.yaml table1 --forcerun masks
    snakemake --snakefile workflow/Snakefile --workflow-profile workflow/profiles/default --cores all \\
        --quiet host reason --forcerun masks --configfile mine.yaml -- table1
"""

import contextlib
import io
import os
import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from lander.config import config
from lander.shared.errors import UserError
from lander.shared.files import PACKAGE, shipped

FLAGS = ("--configfile", "--configfiles")  # not needed, but what people know
OTHERS = ("--profile", "--workflow-profile", "--report-metadata")  # flags whose file may be YAML and is no config


def run(words: Sequence[str]) -> bool:
    """Run the workflow; whether all jobs have succeeded. UserError if the command line is wrong."""
    from snakemake.cli import args_to_api  # takes a second

    configs, rest = divide(words)
    parser, args = arguments(configs, rest)
    with own_screen(args):
        done = args_to_api(args, parser)
    if done and not (args.targets or args.until or args.dryrun):
        results = f"results/{config.merged(*configs).get('run', config.Config.model_fields['run'].default)}"
        print(f"lander run: done; open {results}/report/index.html, or see `lander scores {results}`", file=sys.stderr)
    return done


@contextlib.contextmanager
def own_screen(args: Namespace) -> Iterator[None]:
    """Lander's screen (`lander.workflow.screen`), unless a flag asks for Snakemake's own. Jobs print to their logs."""
    plain = args.verbose or args.printshellcmds or args.debug_dag or args.show_failed_logs or args.logger
    if plain or {kind.name for kind in args.quiet} != {"HOST", "REASON"}:
        yield
        return
    from snakemake.logging import LoggerPluginRegistry

    from lander.workflow import screen

    if not LoggerPluginRegistry().is_installed("lander"):
        LoggerPluginRegistry().register_plugin("snakemake_logger_plugin_lander", screen)
    args.logger = ["lander"]
    sys.stderr.flush()
    kept, stream = os.dup(2), sys.stderr
    with open(kept, "w", encoding="utf-8", buffering=1) as sys.stderr, open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)  # the jobs inherit it
        try:
            yield
        finally:
            os.dup2(kept, 2)
            sys.stderr = stream


def divide(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Config files, and the words for Snakemake. Behind -- are targets, whatever their names."""
    end = words.index("--") if "--" in words else len(words)
    configs, rest = [], []
    for before, word in pairwise(["", *words[:end]]):
        name = next((word.removeprefix(f"{flag}=") for flag in FLAGS if word.startswith(f"{flag}=")), word)
        if name.endswith((".yaml", ".yml")) and not name.startswith("-") and before not in OTHERS:
            configs.append(Path(name))
        elif word not in FLAGS:
            rest.append(word)
    if missing := next((file for file in configs if not file.is_file()), None):
        raise UserError(f"{missing}: no such file; `lander init` writes one")
    return configs, rest + list(words[end:])


def arguments(configs: Sequence[Path], words: Sequence[str]) -> tuple[ArgumentParser, Namespace]:
    """Snakemake's parser, and what it reads from its command line, with config files, profile and cores filled in."""
    from snakemake.cli import parse_args
    from snakemake.utils import available_cpu_count

    flags = ["--quiet", "host", "reason", "--snakefile", str(shipped("workflow/Snakefile"))]
    if not any(word.startswith("--workflow-profile") for word in words):
        flags += ["--workflow-profile", str(shipped("workflow/profiles/default"))]
    said = io.StringIO()  # on an error, all flags of Snakemake and then the error
    try:
        with contextlib.redirect_stderr(said):
            parser, args = parse_args([*flags, *words])
    except SystemExit as stopped:
        if stopped.code:
            last = said.getvalue().rstrip().rpartition("\n")[2]
            raise UserError(f"{last.partition('error: ')[2] or last}; `snakemake --help` has all flags") from None
        raise
    args.configfile = list(configs)
    if not PACKAGE.is_relative_to(Path.cwd()):  # Apptainer shows a container the working folder alone
        args.apptainer_args += f" --bind {shlex.quote(str(PACKAGE))}"
    if args.cores is None and args.jobs is None and args.executor in (None, "local"):
        args.cores = available_cpu_count()
    return parser, args
