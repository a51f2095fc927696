"""Snakemake without the jobs: each is "done" by writing its outputs, and dry runs are told job by job.

Started in a working directory with the project's code on PYTHONPATH. Reads a list of command lines of `snakemake` per
line of JSON; answers with a list of what each would do. Everything is imported once and forked for each, so that a dry
run costs about a second, with Snakemake's own command line, profile, metadata and plan.

    [["--snakefile", ..., "--cores", "1"]]     run: every job that has to run writes its outputs without its command
    [[..., "--dry-run"], [..., "--dry-run"]]   two dry runs
    ->  [{"jobs": [{"rule": "layers", "wildcards": {...}, "before": [0, 3], "runs": true, "why": "..."}, ...]}, ...]
        or  {"error": "..."}   in the place of one
"""

import contextlib
import io
import json
import multiprocessing
import multiprocessing.connection
import os
import sys
from pathlib import Path

import pandas  # noqa: F401  Snakemake imports it
from snakemake import cli, workflow
from snakemake.executors import dryrun, local  # noqa: F401
from snakemake.persistence import file  # noqa: F401

import lander.workflow  # noqa: F401


def pretend(_rule, _input, output, _params, _wildcards, _threads, _resources, _log, benchmark, *_rest) -> None:
    """In place of a job's command."""
    for name in filter(None, [*output, benchmark]):
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")


def told(dag) -> list[dict]:
    """The jobs of a plan, and whether they have to run."""
    number = {job: index for index, job in enumerate(dag.jobs)}

    def facts(job) -> dict:
        before = sorted(number[other] for other in dag.dependencies[job])
        plan = {"before": before, "runs": dag.needrun(job), "why": str(dag.reason(job))}
        return {"rule": job.rule.name, "wildcards": dict(job.wildcards_dict), **plan}

    return list(map(facts, number))


def answer(arguments: list[str]) -> dict:
    """Run Snakemake in this process, once."""
    found = {}
    execute = workflow.Workflow.execute

    def watched(self, *args, **options):
        try:
            return execute(self, *args, **options)
        finally:
            found["jobs"] = told(self.dag)

    workflow.Workflow.execute = watched
    local.run_wrapper = pretend
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            cli.main(arguments)
        except SystemExit as ended:
            if ended.code:
                return {"error": f"{said.getvalue()}\n{ended.code}"}
    return found


def respond(arguments: list[str], pipe) -> None:
    pipe.send(json.dumps(answer(arguments)))


def together(requests: list[list[str]]) -> list[dict]:
    """Answers to all requests in their order, each from a fork of this process; as many at a time as cores."""
    fork = multiprocessing.get_context("fork")
    waiting, running, answers = list(enumerate(requests)), {}, [{}] * len(requests)
    while waiting or running:
        while waiting and len(running) < (os.cpu_count() or 1):
            number, arguments = waiting.pop(0)
            here, there = fork.Pipe(duplex=False)
            child = fork.Process(target=respond, args=(arguments, there))
            child.start()
            there.close()
            running[here] = number, child
        for pipe in multiprocessing.connection.wait(list(running)):
            number, child = running.pop(pipe)
            answers[number] = json.loads(pipe.recv())
            child.join()
    return answers


if __name__ == "__main__":
    replies, sys.stdout = os.fdopen(os.dup(1), "w"), sys.stderr
    for line in sys.stdin:
        print(json.dumps(together(json.loads(line))), file=replies, flush=True)
