"""The command `lander`: check a config, plan a run, show scores, compare runs, translate with a trained model, hand it
on, convert a base, score a model's neurons, import masks.

lander check --configfile my.yaml
lander plan --configfile my.yaml
lander scores results/demo
lander compare results/demo results/deeper
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
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import lander
from lander.cli import flags
from lander.data.textfiles import LONGEST_SENTENCE
from lander.shared.errors import UserError, run_main


def check(args: argparse.Namespace) -> None:
    """Check a config and print what a run with it would do."""
    from lander.config import config
    from lander.config.readings import others

    raw = config.merged(*args.configfile)
    settings = config.load(raw)
    base = config.find_base(settings.model.path, settings.pretrain.n_layer)
    layers = "" if base.n_layer is None else f", {base.n_layer} layers"
    rates = (f"{method} {settings.finetune.method(method).learning_rate:g}" for method in config.trained(settings))
    length = f"{settings.finetune.steps} updates" if settings.finetune.steps else f"{settings.finetune.epochs:g} epochs"
    tests = (f"{name} ({len(served)} directions)" for name, served in settings.tests.items())
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
        "readings": ", ".join([settings.readings, *others(settings)]),
    }
    print("\n".join(f"{key:14} {value}" for key, value in rows.items()))
    if differ := config.differences(raw):
        shown = [
            (key, *(json.dumps(one, ensure_ascii=False, default=str) for one in pair)) for key, pair in differ.items()
        ]
        print("\nother than the defaults (config/defaults.yaml):")
        print("\n".join(f"  {key}: {value} (default: {default})" for key, value, default in shown))


def prefetch(args: argparse.Namespace) -> None:
    """Fetch what a config needs from the network."""
    from lander.workflow import prefetch

    prefetch.run(args)


def scores(args: argparse.Namespace) -> None:
    """Print a run's scores of one metric: a Markdown table per test set, with intervals, signatures and tests."""
    from lander.report.scoretable import show

    print(show(args.run, args.metric))


def compare(args: argparse.Namespace) -> None:
    """Put several runs side by side: what differs in their configs, scores, how sure the differences are, and cost."""
    from lander.report.compare import page

    page.compare(args.runs, args.out, args.resamples)


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


def apply(args: argparse.Namespace) -> None:
    """Make a trained model's folder from a delta file and its base."""
    from lander.finetune import delta

    delta.apply(args.file, args.out, args.base)


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


def convert(args: argparse.Namespace) -> None:
    """Write a Baichuan 7B model as a LLaMA model."""
    from lander.models.baichuan import convert

    convert.convert(args.folder, args.out)


def awareness(args: argparse.Namespace) -> None:
    """Score the neurons of a model on a text file per language, and divide them into general and specific ones."""
    twice = [code for code, _path in args.text if [other for other, _ in args.text].count(code) > 1]
    if twice:
        raise UserError(f"--text: {twice[0]} is given twice; put its text into one file")
    from lander.config.rules import rule_of
    from lander.detect import awareness
    from lander.detect.neurons import Split
    from lander.shared import machine

    machine.prepare(args.threads)
    rule = args.rule or rule_of(args.estimator)
    awareness.run(
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


def masks_from_lape(args: argparse.Namespace) -> None:
    """Write the masks that LAPE's published neurons make."""
    from lander.detect import lape
    from lander.shared.languages import parse_direction

    directions = [parse_direction(direction) for direction in args.directions]
    lape.masks_from_lape(args.file, args.languages.split(","), args.model, directions, args.out, args.layers)


ACTIONS = {
    "check": check,
    "prefetch": prefetch,
    "scores": scores,
    "compare": compare,
    "translate": translate,
    "plan": plan,
    "export": export,
    "delta": delta,
    "apply": apply,
    "card": card,
    "convert": convert,
    "awareness": awareness,
    "masks-from-lape": masks_from_lape,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; what is wrong with the input is told in one line, with exit status 1."""
    args = flags.parser(ACTIONS).parse_args(argv)
    run_main(lambda: args.action(args), args.command)
