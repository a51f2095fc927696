"""The command `lander`: check a config, plan a run, show scores, translate with a trained model, hand it on, convert a
base, score a model's neurons, import masks.

lander check --configfile my.yaml
lander plan --configfile my.yaml
lander scores results/demo
lander translate results/demo/finetune/landermt/main/s0 --direction en-de < in.txt > out.txt
lander export results/demo/finetune/landermt/main/s0 --direction en-de --out my-model
lander export results/demo/finetune/landermt/main/s0 --all --out my-models
lander delta results/demo/finetune/landermt/main/s0 --out my-model.safetensors
lander apply my-model.safetensors --base lander-tiny --out restored
lander card results/demo/finetune/landermt/main/s0
lander convert Baichuan2-7B-Base --out models/baichuan2-7b-llama
lander awareness lander-tiny --text en=a.txt --text de=b.txt --out tables
lander masks-from-lape BLOOM-7B.neuron.pth --languages en,zh,fr,es,vi,id,ja --model bigscience/bloom-7b1 \\
    --directions en-zh zh-en --layers 26 27 28 29 --out masks
"""

import argparse
import codecs
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import lander
from lander.awareness import ESTIMATORS, SITES
from lander.errors import UserError, run_main


def check(args: argparse.Namespace) -> None:
    """Check a config and print what a run with it would do."""
    from lander import config

    settings = config.read(args.configfile)
    base = config.find_base(settings.model.path, settings.pretrain.n_layer)
    layers = "" if base.n_layer is None else f", {base.n_layer} layers"
    rates = (f"{method} {settings.finetune.method(method)['learning_rate']:g}" for method in config.trained(settings))
    length = f"{settings.finetune.steps} updates" if settings.finetune.steps else f"{settings.finetune.epochs:g} epochs"
    tests = (f"{name} ({len(served)} directions)" for name, served in settings.tests.items())
    rows = {
        "run": f"{settings.run}, to results/{settings.run}/",
        "model": f"{settings.model.path} ({base.kind}{layers})",
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
        "readings": settings.readings,
    }
    print("\n".join(f"{key:14} {value}" for key, value in rows.items()))


def prefetch(args: argparse.Namespace) -> None:
    """Fetch what a config needs from the network."""
    from lander import prefetch

    prefetch.run(args)


def scores(args: argparse.Namespace) -> None:
    """Print a run's scores of one metric: a Markdown table per test set, means first, means over seeds."""
    import pandas as pd

    path = args.run / "evaluate" / "scores.csv"
    if not path.is_file():
        raise UserError(f"{path}: no such file; name the folder of a finished run, as in results/demo")
    table = pd.read_csv(path)
    if args.metric not in set(table["metric"]):
        raise UserError(f"--metric: {args.metric}: not in {path}; there are: {', '.join(table['metric'].unique())}")
    table = table[table["metric"] == args.metric]
    means = ["mean", "mean-into-en", "mean-out-of-en"]
    directions = [name for name in table["direction"].unique() if name not in means]
    columns = [name for name in [*means, *directions] if name in set(table["direction"])]
    for test, rows in table.groupby("test"):
        rows = rows.pivot_table(index=["method", "variant"], columns="direction", values="score")[columns]
        print(f"\n{args.metric} on {test}\n\n| method | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}")
        for (method, variant), row in rows.iterrows():
            name = method if variant == "main" else f"{method} {variant}"
            print(f"| {name} | {' | '.join(f'{value:.1f}' for value in row)} |")


def translate(args: argparse.Namespace) -> None:
    """Translate standard input, one sentence a line, to standard output; an empty line stays empty."""
    sentences = read_sentences(sys.stdin.buffer)
    if not sentences:
        raise UserError("standard input: no text; give one sentence a line, as in `lander translate ... < in.txt`")
    from lander import machine

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
        UserError: a line that is not UTF-8.
    """
    sentences = []
    text = stream.read().removeprefix(codecs.BOM_UTF8)
    for number, line in enumerate(text.split(b"\n"), start=1):
        try:
            sentences.append(line.decode("utf-8").strip())
        except UnicodeDecodeError:
            raise UserError(f"standard input, line {number}: not valid UTF-8; convert the text") from None
    return sentences if sentences[-1] else sentences[:-1]


def plan(args: argparse.Namespace) -> None:
    """Say what a run will cost before it starts, and warn of what will not fit."""
    from lander import planning

    planning.show(
        args.configfile,
        flops=args.flops,
        memory=args.memory,
        devices=args.devices,
        count_jobs=not args.no_jobs,
        as_json=args.json,
    )


def export(args: argparse.Namespace) -> None:
    """Write one direction of a trained model, or all, as plain Hugging Face folders."""
    from lander import export

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


def delta(args: argparse.Namespace) -> None:
    """Write what was trained of a model as one file, and its card beside it."""
    from lander import card, delta
    from lander.finetune import saved

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


def apply(args: argparse.Namespace) -> None:
    """Make a trained model's folder from a delta file and its base."""
    from lander import delta

    delta.apply(args.file, args.out, args.base)


def card(args: argparse.Namespace) -> None:
    """Write the model card of a trained model into its folder."""
    from lander import card
    from lander.finetune import saved

    folder = Path(args.model)
    manifest = saved.read_manifest(folder)
    made = card.provenance(folder, manifest)
    rows = card.scores_of(args.scores, manifest, made, manifest["directions"]) if args.scores else []
    name = "/".join(["results", *folder.resolve().parts[-5:]]) if "run" in made else folder.name
    about = {"kind": "folder", "name": name, "directions": manifest["directions"]}
    card.write(folder / card.NAME, manifest, made, **about, scores=rows, license=args.license)
    print(folder / card.NAME)


def convert(args: argparse.Namespace) -> None:
    """Write a Baichuan 7B model as a LLaMA model."""
    from lander import convert

    convert.convert(args.folder, args.out)


def awareness(args: argparse.Namespace) -> None:
    """Score the neurons of a model on a text file per language, and divide them into general and specific ones."""
    twice = [code for code, _path in args.text if [other for other, _ in args.text].count(code) > 1]
    if twice:
        raise UserError(f"--text: {twice[0]} is given twice; put its text into one file")
    from lander import machine
    from lander.awareness import standalone
    from lander.neurons import Split

    machine.prepare(args.threads)
    standalone.run(
        args.model,
        dict(args.text),
        args.out,
        estimator=args.estimator,
        site=args.site,
        split=Split(rule=args.rule, general_share=args.general_share, normalize=args.normalize),
        sentences=args.sentences,
        batch_size=args.batch_size,
        dtype=args.dtype,
        seed=args.seed,
    )


def masks_from_lape(args: argparse.Namespace) -> None:
    """Write the masks that LAPE's published neurons make."""
    from lander import lape
    from lander.languages import parse_direction

    directions = [parse_direction(direction) for direction in args.directions]
    lape.masks_from_lape(args.file, args.languages.split(","), args.model, directions, args.out, args.layers)


def _named_file(value: str) -> tuple[str, Path]:
    """LANGUAGE=FILE, for argparse."""
    code, sign, path = value.partition("=")
    if not (code and sign and path):
        raise argparse.ArgumentTypeError(f"{value!r}: write LANGUAGE=FILE, as in en=text/news.en.gz")
    return code, Path(path)


def _share(value: str) -> float:
    """A number from 0 to 1, for argparse."""
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{value!r} is no number from 0 to 1")
    return share


def _positive(value: str) -> int:
    """A whole number from 1 up, for argparse."""
    if not value.isdigit() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"{value!r} is no whole number from 1 up")
    return int(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lander", description="Finetune only the neurons of an LLM that matter to each translation direction."
    )
    parser.add_argument("--version", action="version", version=f"lander {lander.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    one = commands.add_parser("check", help="check a config and say what a run with it would do")
    one.add_argument(
        "--configfile", type=Path, help="YAML that is merged over config.yaml (default: config.yaml alone)"
    )
    one.set_defaults(action=check)
    one = commands.add_parser("plan", help="say what a run will cost, and whether it fits into the machine")
    _add_plan(one)
    one.set_defaults(action=plan)
    one = commands.add_parser("prefetch", help="fetch a config's model and data, for a run without a network")
    one.add_argument(
        "--configfile", type=Path, help="YAML that is merged over config.yaml (default: config.yaml alone)"
    )
    one.add_argument("--dry-run", action="store_true", help="fetch nothing, say how much it would be")
    one.set_defaults(action=prefetch, effective=None)
    one = commands.add_parser("scores", help="print a run's scores as a table")
    one.add_argument("run", metavar="RUN", type=Path, help="folder of a run, as in results/demo")
    one.add_argument("--metric", default="bleu", help="as in scores.csv (default: bleu)")
    one.set_defaults(action=scores)
    one = commands.add_parser("translate", help="translate standard input, one sentence a line")
    _add_model(one, "; a base works too")
    one.add_argument("--direction", required=True, help="as in en-de, or zh-Hant--en")
    one.add_argument("--dtype", choices=["float32", "bfloat16", "auto"], default="float32", help="of the weights")
    one.add_argument("--beams", type=_positive, default=1, help="1 is greedy (default)")
    one.add_argument("--max-new-tokens", type=_positive, default=256, help="longest translation (default: 256)")
    one.add_argument("--batch-size", type=_positive, default=32, help="sentences at a time (default: 32)")
    one.add_argument("--threads", type=_positive, default=1, help="of torch (default: 1)")
    one.set_defaults(action=translate)
    one = commands.add_parser("export", help="write directions of a model as plain Hugging Face model folders")
    _add_export(one)
    one.set_defaults(action=export)
    one = commands.add_parser("delta", help="write what was trained as one safetensors file, without the base")
    one.add_argument("model", metavar="MODEL", help="folder of a trained model, results/<run>/finetune/...")
    one.add_argument("--out", type=Path, required=True, help="file to write, *.safetensors; its card goes beside it")
    _add_card(one)
    one.set_defaults(action=delta)
    one = commands.add_parser("apply", help="make a trained model's folder from a delta file and its base")
    one.add_argument("file", metavar="FILE", type=Path, help="delta file, *.safetensors")
    _add_base(one)
    one.add_argument("--out", type=Path, required=True, help="folder to write")
    one.set_defaults(action=apply)
    one = commands.add_parser("card", help="write the model card (README.md) into a trained model's folder")
    one.add_argument("model", metavar="MODEL", help="folder of a trained model, results/<run>/finetune/...")
    _add_card(one)
    one.set_defaults(action=card)
    one = commands.add_parser("convert", help="write Baichuan-7B or Baichuan2-7B as a LLaMA model folder, once")
    one.add_argument("folder", metavar="FOLDER", type=Path, help="the model's files as on the hub, downloaded")
    one.add_argument("--out", type=Path, required=True, help="folder to write")
    one.set_defaults(action=convert)
    one = commands.add_parser("awareness", help="score a model's neurons on text files, without a workflow")
    _add_awareness(one)
    one.set_defaults(action=awareness)
    one = commands.add_parser("masks-from-lape", help="make masks of the neurons that LAPE publishes")
    _add_lape(one)
    one.set_defaults(action=masks_from_lape)
    return parser


def _add_awareness(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="built-in name (lander-tiny), local folder or hub id")
    parser.add_argument(
        "--text",
        type=_named_file,
        action="append",
        required=True,
        metavar="LANGUAGE=FILE",
        help="a sentence a line, plain or .gz; once for each language, best the same sentences in all",
    )
    parser.add_argument("--sentences", type=_positive, help="how many of each file are read (default: all)")
    parser.add_argument(
        "--estimator",
        choices=ESTIMATORS,
        default="taylor",
        help="what a neuron's score is: taylor is the paper's, mean of |g h|; taylor_squared; summed, |sum of g h|; "
        "activation, mean of |h|; probability, share of tokens with h > 0; ablation, exact and slow; random",
    )
    parser.add_argument("--site", choices=SITES, default="post", help="h: the nonlinearity's output or input")
    parser.add_argument(
        "--rule",
        choices=["variance", "summed", "entropy"],
        default="variance",
        help="the split: variance over the languages (the paper); summed scores, several owners (Xie et al. 2021); "
        "entropy (LAPE; with --estimator probability)",
    )
    parser.add_argument("--general-share", type=_share, default=0.9, help="of each layer's neurons (default: 0.9)")
    parser.add_argument(
        "--normalize",
        choices=["none", "language_mean"],
        default="language_mean",
        help="divide scores by their language's mean over the layer before the split (default), or not",
    )
    parser.add_argument("--dtype", choices=["auto", "float32", "bfloat16"], default="auto", help="of the weights")
    parser.add_argument("--batch-size", type=_positive, default=16, help="sentences at a time (default: 16)")
    parser.add_argument("--threads", type=_positive, default=1, help="of torch (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of random scores")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder: awareness/<language>.parquet and neurons.parquet"
    )


def _add_lape(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="LAPE's neurons, as in BLOOM-7B.neuron.pth")
    parser.add_argument("--languages", required=True, help="codes in the file's order, as in en,zh,fr,es,vi,id,ja")
    parser.add_argument("--model", required=True, help="whose neurons they are: local folder or hub id")
    parser.add_argument("--directions", nargs="+", required=True, help="as in en-zh zh-en; a mask is made for each")
    parser.add_argument("--layers", type=int, nargs="+", help="layers that the masks are for (default: all)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write, for the config's neurons.masks")


def _add_model(parser: argparse.ArgumentParser, more: str = "") -> None:
    parser.add_argument(
        "model",
        metavar="MODEL",
        help=f"folder of a trained model, results/<run>/finetune/..., or a delta file (*.safetensors){more}",
    )
    _add_base(parser)


def _add_base(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base", help="folder or name of the model's base (default: where it was in training)")


def _add_card(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scores", type=Path, help="results/<run>/evaluate/scores.csv: the model's rows go into its card"
    )
    parser.add_argument("--license", help="for the card, as in apache-2.0 (default: the base's where it is known)")


def _add_export(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--direction", help="as in en-de, or zh-Hant--en")
    which.add_argument(
        "--all", action="store_true", help="every trained direction, into OUT/<direction>; equal files are hard links"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--dtype", choices=["float32", "bfloat16"], default="float32", help="of the weights; float32 is exact (default)"
    )
    _add_card(parser)


def _add_plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--configfile", type=Path, help="YAML that is merged over config.yaml (default: config.yaml alone)"
    )
    parser.add_argument(
        "--flops", type=_number, help="FLOP/s of a device (default: 2e14 for a GPU, 5e10 for each thread of a CPU)"
    )
    parser.add_argument(
        "--memory", type=_number, help="GB of a device (default: this machine's, of its GPU where there is one)"
    )
    parser.add_argument(
        "--devices", choices=["auto", "cpu", "gpu"], default="auto", help="what it will run on (default: as here)"
    )
    parser.add_argument("--no-jobs", action="store_true", help="do not ask Snakemake for the number of jobs")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _number(value: str) -> float:
    """A number above 0, for argparse."""
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{value!r} is no number above 0, as in 24 or 2e14")
    return number


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; what is wrong with the input is told in one line, with exit status 1."""
    args = _parser().parse_args(argv)
    run_main(lambda: args.action(args), args.command)


if __name__ == "__main__":
    main()
