"""The flags of the command `lander`: which commands there are, what each can be told, and what values are taken."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import lander
from lander.detect import ESTIMATORS, SITES
from lander.shared.languages import CODE


def _named_file(value: str) -> tuple[str, Path]:
    """LANGUAGE=FILE, for argparse."""
    code, sign, path = value.partition("=")
    if not (CODE.fullmatch(code) and sign and path):
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


def _seed(value: str) -> int:
    """A whole number from 0 up, for argparse."""
    return 0 if value == "0" else _positive(value)


Action = Callable[[argparse.Namespace], None]

EPILOG = """\
A run:      snakemake --cores 2 --configfile my.yaml      (the README has more)
Before it:  lander check --configfile my.yaml; lander plan --configfile my.yaml
After it:   lander scores results/demo
            lander compare results/demo results/deeper
            lander translate results/demo/finetune/landermt/main/s0 --direction en-de < in.txt > out.txt
            lander export results/demo/finetune/landermt/main/s0 --all --out my-models

`lander COMMAND --help` explains a command. A name that begins with a dash goes behind `--`.
"""


def parser(actions: Mapping[str, Action]) -> argparse.ArgumentParser:
    """The whole command line.

    Args:
        actions: command -> what it does; its docstring is the command's description.
    """
    parser = argparse.ArgumentParser(
        prog="lander",
        description="Finetune only the neurons of an LLM that matter to each translation direction.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lander {lander.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, summary: str) -> argparse.ArgumentParser:
        action = actions[name]
        one = commands.add_parser(name, help=summary, description=(action.__doc__ or "").strip())
        one.set_defaults(action=action)
        return one

    one = command("check", "check a config and say what a run with it would do")
    _add_configfile(one)
    one = command("plan", "say what a run will cost, and whether it fits into the machine")
    _add_plan(one)
    one = command("prefetch", "fetch a config's model and data, for a run without a network")
    _add_configfile(one)
    one.add_argument("--dry-run", action="store_true", help="fetch nothing, say how much it would be")
    one.set_defaults(effective=None, environment=None)  # of the workflow's own calls
    one = command("scores", "print a run's scores as a table")
    one.add_argument("run", metavar="RUN", type=Path, help="folder of a run, as in results/demo")
    one.add_argument("--metric", default="bleu", help="as in scores.csv (default: bleu)")
    one = command("compare", "put several runs side by side: configs, scores, significance, cost")
    _add_compare(one)
    one = command("translate", "translate standard input, one sentence a line")
    _add_translate(one)
    one = command("export", "write directions of a model as plain Hugging Face model folders")
    _add_export(one)
    one = command("delta", "write what was trained as one safetensors file, without the base")
    one.add_argument("model", metavar="MODEL", help="folder of a trained model, results/<run>/finetune/...")
    one.add_argument("--out", type=Path, required=True, help="file to write, *.safetensors; its card goes beside it")
    _add_card(one)
    one = command("apply", "make a trained model's folder from a delta file and its base")
    one.add_argument("file", metavar="FILE", type=Path, help="delta file, *.safetensors")
    _add_base(one)
    one.add_argument("--out", type=Path, required=True, help="folder to write")
    one = command("card", "write the model card (README.md) into a trained model's folder")
    one.add_argument("model", metavar="MODEL", help="folder of a trained model, results/<run>/finetune/...")
    _add_card(one)
    one = command("convert", "write Baichuan-7B or Baichuan2-7B as a LLaMA model folder, once")
    one.add_argument("folder", metavar="FOLDER", type=Path, help="the model's files as on the hub, downloaded")
    one.add_argument("--out", type=Path, required=True, help="folder to write")
    one = command("awareness", "score a model's neurons on text files, without a workflow")
    _add_awareness(one)
    one = command("masks-from-lape", "make masks of the neurons that LAPE publishes")
    _add_lape(one)
    return parser


def _add_configfile(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--configfile",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="YAML that is merged over config.yaml, later files over earlier ones (default: config.yaml alone)",
    )


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", metavar="RUN", type=Path, nargs="+", help="folders of runs, two or more; the first is the base"
    )
    parser.add_argument("--out", type=Path, default=Path("compare.html"), help="page to write (default: compare.html)")
    parser.add_argument(
        "--resamples", type=_positive, default=0, help="of the tests (default: 10,000 or as many as needed)"
    )


def _add_translate(parser: argparse.ArgumentParser) -> None:
    _add_model(parser, "; a base works too")
    parser.add_argument("--direction", required=True, help="as in en-de, or zh-Hant--en")
    parser.add_argument(
        "--dtype",
        choices=["float32", "bfloat16", "auto"],
        default="auto",
        help="of the weights; auto (default) is bfloat16 on a GPU that has it, else float32",
    )
    parser.add_argument("--beams", type=_positive, default=1, help="1 is greedy (default)")
    parser.add_argument("--max-new-tokens", type=_positive, default=256, help="longest translation (default: 256)")
    parser.add_argument("--batch-size", type=_positive, default=32, help="sentences at a time (default: 32)")
    parser.add_argument("--threads", type=_positive, default=1, help="of torch (default: 1)")


def _add_awareness(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="built-in name (lander-tiny), local folder or hub id")
    parser.add_argument(
        "--text",
        type=_named_file,
        action="append",
        required=True,
        metavar="LANGUAGE=FILE",
        help="a sentence a line, plain or .gz; once for each language, best the same sentences in all: a line that is "
        "empty in one is then left out of all",
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
        "--neurons",
        type=_positive,
        help="with --estimator ablation: how many neurons of each layer, drawn and not divided (default: all, divided)",
    )
    parser.add_argument(
        "--rule",
        choices=["variance", "summed", "entropy"],
        help="the split: variance over the languages (the paper; default); summed scores, several owners (Xie et al. "
        "2021; default of --estimator summed); entropy (LAPE; with --estimator probability, where it is the default)",
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
    parser.add_argument("--seed", type=_seed, default=0, help="of random scores, and of the neurons drawn")
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
    _add_configfile(parser)
    parser.add_argument(
        "--flops", type=_number, help="FLOP/s of a device (default: 2e14 for a GPU, 5e10 for each thread of a CPU)"
    )
    parser.add_argument(
        "--memory", type=_number, help="GB of a device (default: this machine's, of its GPU where there is one)"
    )
    parser.add_argument(
        "--devices", choices=["auto", "cpu", "gpu"], default="auto", help="what it will run on (default: as here)"
    )
    parser.add_argument(
        "--profile", type=Path, help="folder of a profile of Snakemake, whose limits are looked at (SNAKEMAKE_PROFILE)"
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
