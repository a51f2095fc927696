"""The command `lander`: each function here is a command, with its flags above it.

lander check --configfile mine.yaml
lander scores results/demo
lander translate results/demo/finetune/landermt/main/s0 --direction en-de < in.txt > out.txt
"""

import argparse
import codecs
import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import lander
from lander.config.detect import RULES, Estimator
from lander.data.textfiles import LONGEST_SENTENCE
from lander.shared.errors import UserError, run_main
from lander.shared.languages import CODE

EPILOG = """\
A run:      snakemake --cores 2 --configfile mine.yaml      (the README has more)
Before it:  lander check --configfile mine.yaml; lander plan --configfile mine.yaml
After it:   lander scores results/demo
            lander compare results/demo results/deeper
            lander translate results/demo/finetune/landermt/main/s0 --direction en-de < in.txt > out.txt
            lander export results/demo/finetune/landermt/main/s0 --all --out my-models

`lander COMMAND --help` explains a command. Put a name that begins with a dash after `--`.
"""
Action = Callable[[argparse.Namespace], None]


class Flag(NamedTuple):
    """An argument of a command: what `add_argument` takes; of a group at most one can be given, and one must."""

    name: str
    options: dict[str, Any]
    group: str = ""


class Command(NamedTuple):
    """A command: its line in `lander --help`, its flags, and what it does."""

    summary: str
    flags: tuple[Flag, ...]
    action: Action


COMMANDS: dict[str, Command] = {}


def command(summary: str, *flags: Flag) -> Callable[[Action], Action]:
    """Make a function a command of its name; its docstring is the description in `lander COMMAND --help`."""

    def register(action: Action) -> Action:
        COMMANDS[action.__name__.replace("_", "-")] = Command(summary, flags, action)
        return action

    return register


def flag(name: str, group: str = "", **options: Any) -> Flag:
    """An argument, as `add_argument` takes it."""
    return Flag(name, options, group)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    main = argparse.ArgumentParser(
        prog="lander",
        description="Finetune only the neurons of an LLM that matter to each translation direction.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    main.add_argument("--version", action="version", version=f"lander {lander.__version__}")
    commands = main.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, one in COMMANDS.items():
        sub = commands.add_parser(name, help=one.summary, description=(one.action.__doc__ or "").strip())
        sub.set_defaults(action=one.action)
        groups = {flag.group for flag in one.flags if flag.group}
        places = {group: sub.add_mutually_exclusive_group(required=True) for group in groups}
        for flag in one.flags:
            places.get(flag.group, sub).add_argument(flag.name, **flag.options)
    return main


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; a fault in the input is one line on standard error, with exit status 1."""
    args = parser().parse_args(argv)
    run_main(lambda: args.action(args), args.command)


# ---------------------------------------------------------------- values and flags that commands share


def within(kind: type[int] | type[float], low: float, high: float = float("inf")) -> Callable[[str], Any]:
    """A number from `low` to `high`, for argparse."""

    def read(text: str) -> int | float:
        try:
            value = kind(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high or value == float("inf"):
            what = "whole number" if kind is int else "number"
            wanted = f"from {low:g} up" if high == float("inf") else f"from {low:g} to {high:g}"
            raise argparse.ArgumentTypeError(f"{text!r} is not a {what} {wanted}")
        return value

    return read


def named_file(text: str) -> tuple[str, Path]:
    """LANGUAGE=FILE, for argparse."""
    code, sign, path = text.partition("=")
    if not (CODE.fullmatch(code) and sign and path):
        raise argparse.ArgumentTypeError(f"{text!r}: write LANGUAGE=FILE, as in en=text/news.en.gz")
    return code, Path(path)


COUNT = within(int, 1)
POSITIVE = within(float, sys.float_info.min)
CONFIGFILE = flag(
    "--configfile",
    type=Path,
    nargs="+",
    action="extend",
    default=[],
    metavar="FILE",
    help="config in YAML, later files over earlier ones (default: config.yaml, the embedded default)",
)
MODEL = flag(
    "model",
    metavar="MODEL",
    help="folder of a trained model, results/<run>/finetune/..., or a delta file (*.safetensors)",
)
TRAINED = flag("model", metavar="MODEL", help="folder of a trained model, results/<run>/finetune/...")
BASE = flag("--base", help="folder or name of the model's base (default: the one it was trained from)")
SCORES = flag("--scores", type=Path, help="results/<run>/evaluate/scores.csv: the model's rows go into its card")
LICENSE = flag("--license", help="for the card, as in apache-2.0 (default: the base's, if it is known)")
FOLDER = flag("--out", type=Path, required=True, help="folder to write")
THREADS = flag("--threads", type=COUNT, default=1, help="of torch (default: 1)")
DTYPE = flag(
    "--dtype",
    choices=["auto", "float32", "bfloat16"],
    default="auto",
    help="of the weights; auto (default) is bfloat16 on a GPU that has it, else float32",
)


# ---------------------------------------------------------------- before a run


@command("check a config and say what a run with it would do", CONFIGFILE)
def check(args: argparse.Namespace) -> None:
    """Check a config and print what a run with it would do."""
    from lander.config import config

    raw = config.merged(*args.configfile)
    settings = config.load(raw)
    base = settings.base
    layers = "" if base.n_layer is None else f", {base.n_layer} layers"
    rates = (f"{method} {settings.finetune.method(method).learning_rate:g}" for method in config.trained(settings))
    length = f"{settings.finetune.steps} updates" if settings.finetune.steps else f"{settings.finetune.epochs:g} epochs"
    tests = (f"{name} ({len(served)} directions)" for name, served in settings.tested(settings.directions).items())
    rows = {
        "run": f"{settings.run}, to results/{settings.run}/",
        "model": f"{settings.model.path} ({'local folder' if base.kind == 'local' else base.kind}{layers})",
        "languages": ", ".join(f"{code} {name}" for code, name in settings.languages.items()),
        "contrast": ", ".join(code for code in settings.awareness.languages if code not in settings.languages)
        or "none",
        "directions": " ".join(map(str, settings.directions)),
        "methods": " ".join(settings.methods),
        "seeds": " ".join(map(str, settings.seeds)),
        "training": f"{', '.join(source.name for source in settings.data.train)}; {length} of "
        f"{settings.finetune.batch_size} x {settings.finetune.accumulate} pairs an update",
        "learning rate": ", ".join(rates) or "none",
        "tests": ", ".join(tests),
        "readings": ", ".join([settings.readings, *config.other_readings(settings)]),
    }
    print("\n".join(f"{key:14} {value}" for key, value in rows.items()))
    if differ := config.differences(raw):
        shown = [
            (key, *(json.dumps(one, ensure_ascii=False, default=str) for one in pair)) for key, pair in differ.items()
        ]
        print("\nother than the defaults (config/defaults.yaml):")
        print("\n".join(f"  {key}: {value} (default: {default})" for key, value, default in shown))


@command(
    "say what a run will cost, and whether it fits into the machine",
    CONFIGFILE,
    flag("--flops", type=POSITIVE, help="FLOP/s of a device, to plan for another machine (default: measured here)"),
    flag("--memory", type=POSITIVE, help="GB of a device (default: this machine's, of its GPU if it has one)"),
    flag("--devices", choices=["auto", "cpu", "gpu"], default="auto", help="what it will run on (default: as here)"),
    flag("--profile", type=Path, help="folder of a Snakemake profile, whose limits are checked (SNAKEMAKE_PROFILE)"),
    flag("--no-jobs", action="store_true", help="do not ask Snakemake for the number of jobs"),
    flag("--json", action="store_true", help="print JSON instead of a table"),
)
def plan(args: argparse.Namespace) -> None:
    """Say what a run will cost before it starts, and warn of what will not fit."""
    from lander.workflow import planning

    planning.show(
        args.configfile,
        flops=args.flops,
        memory=args.memory,
        devices=args.devices,
        count_jobs=not args.no_jobs,
        profile=args.profile,
        as_json=args.json,
    )


@command(
    "fetch a config's model and data, for a run without a network",
    CONFIGFILE,
    flag("--dry-run", action="store_true", help="fetch nothing, say how much it would be"),
)
def prefetch(args: argparse.Namespace) -> None:
    """Fetch what a config needs from the network."""
    from lander.workflow import prefetch

    prefetch.run(argparse.Namespace(**vars(args), effective=None, environment=None))


# ---------------------------------------------------------------- after a run


@command(
    "print a run's scores as a table",
    flag("run", metavar="RUN", type=Path, help="folder of a run, as in results/demo"),
    flag("--metric", default="bleu", help="as in scores.csv (default: bleu)"),
)
def scores(args: argparse.Namespace) -> None:
    """Print a run's scores of one metric: a Markdown table per test set, with intervals, signatures and tests."""
    from lander.report.scores import terminal

    print(terminal(args.run, args.metric))


@command(
    "put several runs side by side: configs, scores, significance, cost",
    flag("runs", metavar="RUN", type=Path, nargs="+", help="folders of runs, two or more; the first is the base"),
    flag("--out", type=Path, default=Path("compare.html"), help="page to write (default: compare.html)"),
    flag("--resamples", type=COUNT, default=0, help="of the tests (default: 10,000 or as many as needed)"),
)
def compare(args: argparse.Namespace) -> None:
    """Put several runs side by side: what differs in their configs, scores, how sure the differences are, and cost."""
    from lander.report.compare import page

    page.compare(args.runs, args.out, args.resamples)


@command(
    "translate standard input, one sentence a line",
    flag("model", metavar="MODEL", help=f"{MODEL.options['help']}; a base works too"),
    BASE,
    flag("--direction", required=True, help="as in en-de, or zh-Hant--en"),
    DTYPE,
    flag("--beams", type=COUNT, default=1, help="1 is greedy (default)"),
    flag("--max-new-tokens", type=COUNT, default=256, help="longest translation (default: 256)"),
    flag("--batch-size", type=COUNT, default=32, help="sentences at a time (default: 32)"),
    THREADS,
)
def translate(args: argparse.Namespace) -> None:
    """Translate standard input, one sentence a line, to standard output; an empty line stays empty."""
    sentences = read_sentences(sys.stdin.buffer)
    if not sentences:
        raise UserError("standard input: no text; give one sentence a line, as in `lander translate ... < in.txt`")
    from lander.shared import machine

    machine.prepare(args.threads)
    translator = lander.load(args.model, dtype=args.dtype, base=args.base)
    outputs = iter(
        translator.translate(
            [sentence for sentence in sentences if sentence],
            args.direction,
            beams=args.beams,
            max_new_tokens=args.max_new_tokens,
            batch_size=args.batch_size,
        )
    )
    with open(sys.stdout.fileno(), "w", encoding="utf-8", newline="\n", closefd=False) as out:
        out.writelines(f"{next(outputs) if sentence else ''}\n" for sentence in sentences)


def read_sentences(stream: io.BufferedIOBase) -> list[str]:
    """Lines of UTF-8 text, trimmed.

    Raises:
        UserError: a line that is not UTF-8, or too long to be a sentence.
    """
    sentences = []
    text = stream.read().removeprefix(codecs.BOM_UTF8)
    if b"\n" not in text and text.count(b"\r") > 1:
        raise UserError("standard input: its lines end in a carriage return alone; convert it: tr '\\r' '\\n'")
    for number, line in enumerate(text.split(b"\n"), start=1):
        try:
            sentences.append(line.decode("utf-8").strip())
        except UnicodeDecodeError:
            raise UserError(f"standard input, line {number}: not valid UTF-8; convert the text") from None
        if len(sentences[-1]) > LONGEST_SENTENCE:
            raise UserError(
                f"standard input, line {number}: {len(sentences[-1]):,} characters; more than {LONGEST_SENTENCE:,} "
                "are no sentence (is every sentence on a line of its own?)"
            )
    return sentences if sentences[-1] else sentences[:-1]


@command(
    "write directions of a model as plain Hugging Face model folders",
    MODEL,
    BASE,
    flag("--direction", "which", help="as in en-de, or zh-Hant--en"),
    flag(
        "--all",
        "which",
        action="store_true",
        help="every trained direction, into OUT/<direction>; equal files are hard links",
    ),
    FOLDER,
    flag(
        "--dtype", choices=["float32", "bfloat16"], default="float32", help="of the weights; float32 is exact (default)"
    ),
    SCORES,
    LICENSE,
)
def export(args: argparse.Namespace) -> None:
    """Write one direction of a trained model, or all, as plain Hugging Face folders."""
    from lander.share import export

    options = {
        "dtype": args.dtype,
        "base": args.base,
        "scores": args.scores,
        "license": args.license,
    }
    if args.all:
        export.export_all(args.model, args.out, **options)
    else:
        export.export(args.model, args.direction, args.out, **options)


@command(
    "write what was trained as one safetensors file, without the base",
    TRAINED,
    flag("--out", type=Path, required=True, help="file to write, *.safetensors; its card goes beside it"),
    SCORES,
    LICENSE,
)
def delta(args: argparse.Namespace) -> None:
    """Write what was trained of a model as one file, and its card beside it."""
    from lander.finetune import delta, saved
    from lander.share import card

    if not saved.is_trained_model(args.model):
        raise UserError(
            f"{args.model}: not a trained model's folder, results/<run>/finetune/<method>/<variant>/s<seed>"
        )
    manifest = saved.read_manifest(Path(args.model))
    made = card.provenance(Path(args.model), manifest)
    rows = card.scores_of(args.scores, manifest, made, manifest["directions"]) if args.scores else []
    delta.write(args.model, args.out, made)
    about = {"kind": "delta", "name": args.out.name, "directions": manifest["directions"]}
    card.write(args.out.with_suffix(".md"), manifest, made, **about, scores=rows, license=args.license)
    print(f"delta: {args.out} ({args.out.stat().st_size / 1e6:,.1f} MB) and its card, {args.out.with_suffix('.md')}")


@command(
    "make a trained model's folder from a delta file and its base",
    flag("file", metavar="FILE", type=Path, help="delta file, *.safetensors"),
    BASE,
    FOLDER,
)
def apply(args: argparse.Namespace) -> None:
    """Make a trained model's folder from a delta file and its base."""
    from lander.finetune import delta

    delta.apply(args.file, args.out, args.base)


@command("write the model card (README.md) into a trained model's folder", TRAINED, SCORES, LICENSE)
def card(args: argparse.Namespace) -> None:
    """Write the model card of a trained model into its folder."""
    from lander.finetune import saved
    from lander.share import card

    folder = Path(args.model)
    manifest = saved.read_manifest(folder)
    made = card.provenance(folder, manifest)
    rows = card.scores_of(args.scores, manifest, made, manifest["directions"]) if args.scores else []
    name = "/".join(["results", *folder.resolve().parts[-5:]]) if "run" in made else folder.name
    about = {"kind": "folder", "name": name, "directions": manifest["directions"]}
    card.write(folder / card.NAME, manifest, made, **about, scores=rows, license=args.license)
    print(folder / card.NAME)


# ---------------------------------------------------------------- bases and neurons


@command(
    "write a GGUF file, or Baichuan-7B or Baichuan2-7B, as a plain model folder, once",
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
    "score a model's neurons on text files, without a workflow",
    flag("model", metavar="MODEL", help="built-in name (lander-tiny), local folder or hub id"),
    flag(
        "--text",
        type=named_file,
        action="append",
        required=True,
        metavar="LANGUAGE=FILE",
        help="one sentence a line, plain or .gz; once for each language, best the same sentences in all: a line "
        "that is empty in one is left out of all",
    ),
    flag("--sentences", type=COUNT, help="how many of each file are read (default: all)"),
    flag(
        "--estimator",
        choices=get_args(Estimator),
        default="taylor",
        help="a neuron's score: taylor is the paper's, mean of |g h|; taylor_squared; summed, |sum of g h|; "
        "activation, mean of |h|; probability, share of tokens with h > 0; ablation, exact and slow; random",
    ),
    flag("--site", choices=["post", "pre"], default="post", help="h: the nonlinearity's output or input"),
    flag(
        "--neurons",
        type=COUNT,
        help="with --estimator ablation: how many neurons of each layer, drawn and not split (default: all, split)",
    ),
    flag(
        "--rule",
        choices=["variance", "summed", "entropy"],
        help="the split: variance over the languages (the paper; default); summed scores, several owners (Xie et al. "
        "2021; default of --estimator summed); entropy (LAPE; default of --estimator probability, and only with it)",
    ),
    flag("--general-share", type=within(float, 0, 1), default=0.9, help="of each layer's neurons (default: 0.9)"),
    flag(
        "--normalize",
        choices=["none", "language_mean"],
        default="language_mean",
        help="divide scores by their language's mean over the layer before the split (default), or not",
    ),
    DTYPE,
    flag("--batch-size", type=COUNT, default=16, help="sentences at a time (default: 16)"),
    THREADS,
    flag("--seed", type=within(int, 0), default=0, help="of random scores, and of the neurons drawn"),
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
    standalone.run(
        args.model,
        dict(args.text),
        args.out,
        estimator=args.estimator,
        site=args.site,
        split=Split(rule=rule, general_share=args.general_share, normalize=args.normalize),
        sample=args.neurons,
        sentences=args.sentences,
        batch_size=args.batch_size,
        dtype=args.dtype,
        seed=args.seed,
    )


@command(
    "make masks of the neurons that LAPE publishes",
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


if __name__ == "__main__":
    main()
