"""The command `lander`: each function here is a command, with its flags above it.

lander check mine.yaml
lander scores results/demo
lander translate results/demo/finetune/landermt/main/s0 in.txt -d en-de > out.txt
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pydantic import Field, FiniteFloat

import lander
from lander.config.awareness import RULES, Awareness
from lander.config.model import Model
from lander.config.neurons import Neurons
from lander.config.translate import Translate
from lander.evaluate.metrics import OPTIONAL
from lander.shared.errors import UserError, nearest, run_main
from lander.shared.languages import CODE
from lander.shared.section import Section, add_flags

EPILOG = """\
Before a run: lander init --model models/mine --text text.en text.de
              lander check mine.yaml; lander plan mine.yaml
A run:        lander run mine.yaml                 (without a config: the demo)
After it:     lander scores results/mine
              lander compare results/mine results/deeper
              lander translate results/mine/finetune/landermt/main/s0 in.txt -d en-de > out.txt
              lander export results/mine/finetune/landermt/main/s0 --all --out my-models

`lander COMMAND --help` explains a command. Put a name that begins with a dash after `--`.
"""


class Parser(argparse.ArgumentParser):
    """A wrong flag is one line, as every other error is."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; see `{self.prog} --help`\n")


PARSER = Parser(
    prog="lander",
    description="Finetune only the neurons of an LLM that matter to each translation direction.",
    epilog=EPILOG,
    formatter_class=argparse.RawDescriptionHelpFormatter,
)
PARSER.add_argument("--version", action="version", version=f"lander {lander.__version__}")
COMMANDS = PARSER.add_subparsers(dest="command", required=True, metavar="COMMAND")
Action = Callable[[argparse.Namespace], None]
Flags = Callable[[Any], object]  # adds flags to a parser


def command(*flags: Flags, **options: Any) -> Callable[[Action], Action]:
    """Make a function a command of its name; its docstring is what `--help` says of it."""

    def register(action: Action) -> Action:
        name, about = action.__name__.replace("_", "-"), action.__doc__ or ""
        parser = COMMANDS.add_parser(name, help=about.removesuffix("."), description=about, **options)
        parser.set_defaults(action=action)
        for add in flags:
            add(parser)
        return action

    return register


def flag(*names: str, **options: Any) -> Flags:
    """An argument, as `add_argument` takes it."""
    return lambda parser: parser.add_argument(*names, **options)


def flags_of(section: type[Section], *names: str) -> Flags:
    """Flags of some keys of a section of the config, with its limits, defaults and help."""
    return lambda parser: add_flags(parser, section, *names)


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; a fault in the input is one line on standard error, with exit status 1. Without one, help."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and not words[0].startswith("-") and words[0] not in COMMANDS.choices:
        advice = nearest(words[0], COMMANDS.choices, f"there are {', '.join(COMMANDS.choices)}")
        PARSER.exit(2, f"lander: error: {words[0]}: no such command; {advice}\n")
    args, rest = PARSER.parse_known_args(words or ["--help"])
    if [word[:1] == "-" for word in rest] == [False] and getattr(args, "file", "") is None:
        args.file, rest = rest[0], []  # behind flags, argparse does not expect it any more
    if rest:
        COMMANDS.choices[args.command].error(f"unrecognized arguments: {' '.join(rest)}")
    closed = sys.stdout is None  # told before hours of work

    def act() -> None:
        if closed:
            raise UserError("standard output is closed; give it a file or a pipe, as in `> out.txt`")
        args.action(args)

    run_main(act, args.command)


# ---------------------------------------------------------------- values and flags that commands share


class Numbers(Section):
    """Numbers that are no keys of the config, checked as keys are."""

    flops: FiniteFloat | None = Field(None, gt=0, description="FLOP/s of a device; by default measured on this one.")
    memory: FiniteFloat | None = Field(None, gt=0, description="GB of a device; by default this machine's or GPU's.")
    resamples: int = Field(0, ge=0, description="Of the tests; 0 is 10,000 or as many as needed.")
    sentences: int | None = Field(None, ge=1, description="How many of each file are read; by default all.")
    threads: int = Field(1, ge=1, le=1024, description="Threads of torch.")
    port: int = Field(5000, ge=0, le=65535, description="To listen on; 0 is any that is free.")
    seed: int = Field(0, ge=0, description="Of random scores, and of the neurons drawn.")


def named_file(text: str) -> tuple[str, Path]:
    """LANGUAGE=FILE, for argparse."""
    code, sign, path = text.partition("=")
    if not (CODE.fullmatch(code) and sign and path):
        raise argparse.ArgumentTypeError(f"{text!r}: write LANGUAGE=FILE, as in en=text/news.en.gz")
    return code, Path(path)


SEVERAL = {"nargs": "+", "metavar": "FILE"}
CODES = {"nargs": "+", "default": [], "metavar": "CODE"}
ONE_OR_MORE = {"nargs": "+", "action": "extend", "required": True}
FILES = {"type": Path, "nargs": "+", "action": "extend", "default": [], "metavar": "FILE"}
CONFIGFILE = (
    flag("configfile", **FILES | {"nargs": "*"}, help="YAML, later ones over earlier ones (default: the demo's)"),
    flag("--configfile", **FILES, help="the same, as Snakemake's flag"),
)
WORDS = "config files (*.yaml), and targets and flags of Snakemake: table1, -n, --cores 2 (default: all cores)"
PROFILE = {"type": Path, "default": os.environ.get("SNAKEMAKE_PROFILE") or None}
DIRECTION = ("-d", "--direction")
ANY = "folder of a trained model, results/<run>/finetune/..., or a delta file (*.safetensors)"
TRAINED = flag("model", metavar="MODEL", help="folder of a trained model, results/<run>/finetune/...")
BASE = flag("--base", help="folder or name of the model's base (default: the one it was trained from)")
SCORES = flag("--scores", type=Path, help="results/<run>/evaluate/scores.csv: the model's rows go into its card")
LICENSE = flag("--license", help="for the card, as in apache-2.0 (default: the base's, if it is known)")
FOLDER = flag("--out", type=Path, required=True, help="folder to write")


# ---------------------------------------------------------------- before a run


@command(
    flag("--model", required=True, help="a local folder, a hub id, or the name of a built-in one (lander-tiny)"),
    flag("--text", **SEVERAL, required=True, help="parallel text: a file for each language, a TSV or a TMX file"),
    flag("--dev", **SEVERAL, help="text to choose prompts on (default: 200 pairs from the end of --text)"),
    flag("--test", **SEVERAL, help="text to score on (default: 1,000 pairs from the end of --text)"),
    flag("--languages", **CODES, help="of the files or columns, in order (default: by their names, or as they look)"),
    flag("--directions", **CODES, help="as in en-de de-en (default: from and to English, or the first language)"),
    flag("--out", type=Path, default=Path("mine.yaml"), help="config to write; names the run (default: mine.yaml)"),
)
def init(args: argparse.Namespace) -> None:
    """Write a config for a model and parallel text, after a look at them."""
    from lander.shared.files import write_text
    from lander.workflow import init

    if args.out.exists():
        raise UserError(f"{args.out}: is there already; remove it, or choose another name with --out")
    words = {"train": args.text, "dev": args.dev, "test": args.test}
    given = {part: own for part, own in words.items() if own}
    text, said = init.make(args.out, args.model, given, args.languages, args.directions)
    write_text(args.out, text)
    print(said)


@command(*CONFIGFILE)
def check(args: argparse.Namespace) -> None:
    """Check a config and print what a run with it would do."""
    from lander.workflow import check

    print(check.summary(args.configfile))


@command(
    *CONFIGFILE,
    flags_of(Numbers, "flops", "memory"),
    flag("--devices", choices=["auto", "cpu", "gpu"], default="auto", help="what it will run on (default: as here)"),
    flag("--profile", **PROFILE, help="folder of a Snakemake profile, whose limits are checked (SNAKEMAKE_PROFILE)"),
    flag("--no-jobs", action="store_true", help="do not ask Snakemake for the number of jobs"),
    flag("--json", action="store_true", help="print JSON instead of a table"),
)
def plan(args: argparse.Namespace) -> None:
    """Say what a run will cost before it starts, and warn of what will not fit."""
    from lander.config import config
    from lander.workflow import planning

    settings = config.read(*args.configfile)
    machine = planning.this_machine(args.devices, args.flops, args.memory, settings.threads)
    made = planning.make(settings, machine, None if args.no_jobs else args.configfile, args.profile)
    print(json.dumps(made, ensure_ascii=False, indent=2) if args.json else planning.page(made))
    for warning in made["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)


@command(*CONFIGFILE, flag("--dry-run", action="store_true", help="fetch nothing, say how much it would be"))
def prefetch(args: argparse.Namespace) -> None:
    """Fetch what a config needs from the network."""
    from lander.config import config
    from lander.workflow import prefetch

    found = prefetch.prefetch(config.read(*args.configfile), dry_run=args.dry_run)
    print(prefetch.summary(found, args.configfile, dry_run=args.dry_run))


# ---------------------------------------------------------------- a run


@command(
    flag("words", nargs=argparse.REMAINDER, metavar="WORD", help=WORDS),
    usage="lander run [CONFIG.yaml ...] [TARGET ...] [FLAG ...]",
    prefix_chars="\0",  # flags are words too
    add_help=False,
)
def run(args: argparse.Namespace) -> None:
    """Run the workflow with a config, by default the demo: Snakemake with the cores and profile of this machine."""
    from lander.workflow import run

    if args.words in (["-h"], ["--help"]):
        COMMANDS.choices["run"].print_help()
    elif not run.run(args.words):
        sys.exit(1)


# ---------------------------------------------------------------- after a run


@command(
    flag("run", metavar="RUN", type=Path, help="folder of a run, as in results/demo"),
    flag("--metric", type=str.lower, default="bleu", help="as in scores.csv (default: bleu)"),
    flag("--format", choices=["table", "markdown", "csv", "json"], default="table", help="default: table"),
)
def scores(args: argparse.Namespace) -> None:
    """Print a run's scores of one metric: a table per test set, with intervals, signatures and tests."""
    from lander.report import terminal

    print(terminal.show(args.run, args.metric, args.format))


@command(
    flag("-s", "--source", metavar="FILE", required=True, help="text, one sentence a line, plain or packed"),
    flag("-r", "--reference", metavar="FILE", **ONE_OR_MORE, help="its translation by people, or several"),
    flag(
        "--hypothesis",
        metavar="[NAME=]FILE",
        **ONE_OR_MORE,
        help="outputs; all are tested against the first",
    ),
    flag(*DIRECTION, help="as in en-de (default: by the names of the files, or as they look)"),
    flag("--metrics", nargs="+", default=[], choices=OPTIONAL, help="further metrics"),
    flags_of(Numbers, "resamples"),
    flag("--out", type=Path, help="folder to write: scores, tests, and the page report/index.html (default: none)"),
)
def score(args: argparse.Namespace) -> None:
    """Score translations of any systems: the scores, intervals, tests and page of a run."""
    from lander.workflow.score import score

    options = (args.direction, args.out, args.metrics, args.resamples)
    print(score(args.source, args.reference, args.hypothesis, *options))
    if args.out:
        print(f"\n{args.out / 'report' / 'index.html'}")


@command(
    flag("runs", metavar="RUN", type=Path, nargs="*", help="folders of runs; without two, an overview of all"),
    flag("--out", type=Path, default=Path("compare.html"), help="page to write (default: compare.html)"),
    flags_of(Numbers, "resamples"),
)
def compare(args: argparse.Namespace) -> None:
    """Put several runs side by side: what differs in their configs, scores, how sure the differences are, and cost."""
    from lander.report.compare import overview, page

    if len(args.runs) > 1:
        page.compare(args.runs, args.out, args.resamples)
    else:
        print(overview.overview(args.runs))


@command(
    flag("model", metavar="MODEL", help=f"{ANY}; a base works too"),
    flag("file", metavar="FILE", nargs="?", help="text, one sentence a line (default: standard input)"),
    BASE,
    flag(*DIRECTION, required=True, help="as in en-de, or zh-Hant--en"),
    flags_of(Model, "dtype", "revision", "prompt"),
    lambda parser: parser.set_defaults(prompt=None),  # a trained model knows its own
    flags_of(Translate, "beams", "max_new_tokens", "batch_size"),
    flags_of(Numbers, "threads"),
)
def translate(args: argparse.Namespace) -> None:
    """Translate a file or standard input, one sentence a line, to standard output; an empty line stays empty."""
    from lander.translate import lines

    sentences = lines.read(args.file)
    from lander.shared import machine

    machine.prepare(args.threads)
    asked = {name: getattr(args, name) for name in ("dtype", "base", "prompt", "revision")}
    translator = lander.load(args.model, **asked)
    decoding = {name: getattr(args, name) for name in ("beams", "max_new_tokens", "batch_size")}
    outputs = translator.translate(sentences, args.direction, **decoding)
    with open(sys.stdout.fileno(), "w", encoding="utf-8", newline="\n", closefd=False) as out:
        out.writelines(f"{output}\n" for output in outputs)


def which_directions(parser: argparse.ArgumentParser) -> None:
    """The flags of which `export` needs one."""
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument(*DIRECTION, help="as in en-de, or zh-Hant--en")
    all_ = "every trained direction, into OUT/<direction>; equal files are hard links"
    group.add_argument("--all", action="store_true", help=all_)


@command(
    flag("model", metavar="MODEL", help=ANY),
    BASE,
    which_directions,
    FOLDER,
    flag("--dtype", choices=["float32", "bfloat16"], default="float32", help="of the weights (default: float32)"),
    SCORES,
    LICENSE,
)
def export(args: argparse.Namespace) -> None:
    """Write one direction of a trained model, or all, as plain Hugging Face folders."""
    from lander.share import export

    options = {"dtype": args.dtype, "base": args.base, "scores": args.scores, "license": args.license}
    export.export(args.model, args.direction, args.out, **options)


@command(
    flag("models", metavar="MODEL", nargs="+", help=f"{ANY}, or a base; the page puts several side by side"),
    BASE,
    flag("--languages", nargs="+", default=[], metavar="CODE", help="as in en de (default: those of the models)"),
    flag("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine alone)"),
    flags_of(Numbers, "port"),
    flags_of(Model, "dtype", "prompt"),
    lambda parser: parser.set_defaults(prompt=None),
    flags_of(Translate, "max_new_tokens", "batch_size"),
    flags_of(Numbers, "threads"),
)
def serve(args: argparse.Namespace) -> None:
    """Serve models: a web page, and an HTTP API that clients of LibreTranslate know."""
    from lander.share.serve.server import serve
    from lander.shared import machine
    from lander.translate.translator import Decoding

    machine.prepare(args.threads)
    decoding = Decoding(max_new_tokens=args.max_new_tokens, batch_size=args.batch_size)
    options = {"codes": args.languages, "dtype": args.dtype, "base": args.base, "prompt": args.prompt}
    serve(args.models, args.host, args.port, decoding, **options)


@command(
    TRAINED,
    flag("--out", type=Path, required=True, help="file to write, *.safetensors; its card goes beside it"),
    SCORES,
    LICENSE,
)
def delta(args: argparse.Namespace) -> None:
    """Write what was trained of a model as one file, and its card beside it."""
    from lander.finetune import delta
    from lander.finetune.saved import Trained
    from lander.share.card import Card

    trained, beside = Trained(args.model), args.out.with_suffix(".md")
    directions = trained.manifest["directions"]
    card = Card(args.model, trained, directions, args.scores, args.license)
    delta.write(args.model, args.out, card.made)
    card.write(beside, "delta", args.out.name, directions)
    print(f"delta: {args.out} ({args.out.stat().st_size / 1e6:,.1f} MB) and its card, {beside}")


@command(flag("file", metavar="FILE", type=Path, help="delta file, *.safetensors"), BASE, FOLDER)
def apply(args: argparse.Namespace) -> None:
    """Make a trained model's folder from a delta file and its base."""
    from lander.finetune import delta

    delta.apply(args.file, args.out, args.base)


@command(TRAINED, SCORES, LICENSE)
def card(args: argparse.Namespace) -> None:
    """Write the model card of a trained model into its folder."""
    from lander.finetune.saved import Trained
    from lander.share.card import NAME, Card

    trained = Trained(args.model)
    directions, file = trained.manifest["directions"], trained.path / NAME
    card = Card(args.model, trained, directions, args.scores, args.license)
    in_run = "/".join(["results", *trained.path.resolve().parts[-5:]])
    card.write(file, "folder", in_run if "run" in card.made else trained.path.name, directions)
    print(file)


@command(
    flag("model", metavar="MODEL", help="folder of a trained model, or one that `lander export` has written"),
    flag("--to", required=True, metavar="OWNER/NAME", help="model on the Hugging Face hub; made if it is not there"),
    flag("--private", action="store_true", help="make it private"),
    flag("--dry-run", action="store_true", help="upload nothing: list the files and print the card"),
    SCORES,
    LICENSE,
)
def push(args: argparse.Namespace) -> None:
    """Upload a model to the Hugging Face hub, with its card."""
    from lander.share import push

    options = {name: getattr(args, name) for name in ("private", "dry_run", "scores", "license")}
    print(push.push(args.model, args.to, **options))


# ---------------------------------------------------------------- bases and neurons


@command(
    flag("model", metavar="MODEL", type=Path, help="a *.gguf file, or the folder of a Baichuan 7B model as on the hub"),
    FOLDER,
)
def convert(args: argparse.Namespace) -> None:
    """Write a model as a plain folder that transformers reads: a GGUF file, or a Baichuan 7B model."""
    if args.model.is_file():
        from lander.models.gguf import convert
    else:
        from lander.models.baichuan.convert import convert
    convert(args.model, args.out)


@command(
    flag("model", metavar="MODEL", help="built-in name (lander-tiny), local folder or hub id"),
    flag(
        "--text",
        type=named_file,
        action="append",
        required=True,
        metavar="LANGUAGE=FILE",
        help="one sentence a line, plain or packed; once for each language, best the same sentences in all: a line "
        "that is empty in one is left out of all",
    ),
    flags_of(Numbers, "sentences"),
    flags_of(Awareness, "estimator", "site", "neurons", "batch_size"),
    flag(
        "--rule",
        choices=["variance", "summed", "entropy"],
        help="the split: variance over the languages (the paper; default); summed scores, several owners (Xie et al. "
        "2021; default of --estimator summed); entropy (LAPE; default of --estimator probability, and only with it)",
    ),
    flags_of(Neurons, "general_share", "normalize"),
    flags_of(Model, "dtype"),
    flags_of(Numbers, "threads", "seed"),
    flag("--out", type=Path, required=True, help="folder: awareness/<language>.parquet and neurons.parquet"),
)
def awareness(args: argparse.Namespace) -> None:
    """Score the neurons of a model on a text file per language, and divide them into general and specific ones."""
    twice = [code for code, _path in args.text if [other for other, _ in args.text].count(code) > 1]
    if twice:
        raise UserError(f"--text: {twice[0]} is given twice; put its text into one file")
    from lander.detect import standalone
    from lander.detect.neurons import Split
    from lander.shared import machine

    machine.prepare(args.threads)
    rule = args.rule or RULES[args.estimator]
    split = Split(rule=rule, general_share=args.general_share, normalize=args.normalize)
    same = {name: getattr(args, name) for name in ("sentences", "dtype", "site", "batch_size", "seed")}
    standalone.run(args.model, dict(args.text), args.out, args.estimator, split, sample=args.neurons, **same)


@command(
    flag("file", metavar="FILE", type=Path, help="LAPE's neurons, as in BLOOM-7B.neuron.pth"),
    flag("--languages", required=True, help="codes in the file's order, as in en,zh,fr,es,vi,id,ja"),
    flag("--model", required=True, help="whose neurons they are: local folder or hub id"),
    flag("--directions", nargs="+", required=True, help="as in en-zh zh-en; a mask is made for each"),
    flag("--layers", type=int, nargs="+", help="layers that the masks are for (default: all)"),
    flag("--out", type=Path, required=True, help="folder to write, for the config's neurons.masks"),
)
def masks_from_lape(args: argparse.Namespace) -> None:
    """Write the masks that LAPE's published neurons make."""
    from lander.detect import lape
    from lander.shared.languages import parse_direction

    directions = [parse_direction(direction) for direction in args.directions]
    lape.masks_from_lape(args.file, args.languages.split(","), args.model, directions, args.out, args.layers)


# ---------------------------------------------------------------- the shell


@command(
    flag("shell", choices=["bash", "zsh", "tcsh"], help='for bash: `eval "$(lander completion bash)"` in ~/.bashrc')
)
def completion(args: argparse.Namespace) -> None:
    """Print what makes a shell complete commands, flags and files of `lander` when Tab is pressed."""
    import shtab

    print(shtab.complete(PARSER, args.shell))


if __name__ == "__main__":
    main()
