"""All files of a run: who reads them, and how they can be damaged so that they still look right."""

import argparse
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from lander.evaluate import segments, translations
from lander.evaluate.__main__ import read_seen
from lander.evaluate.collect import read_scores
from lander.experiments import samples
from lander.experiments.claims.__main__ import read as read_result
from lander.finetune import saved
from lander.models import loading
from lander.report import document, inputs
from lander.report.significance import read_significance
from lander.report.translations import FLAG_COLUMNS
from lander.shared import tables
from lander.shared.csvfile import read_csv
from lander.shared.errors import UserError
from lander.shared.files import read_json


def of(schema: str) -> Callable[[Path], object]:
    """A reader of a table. Some stages read a table in one go, some in chunks."""
    return lambda path: (
        list(tables.read_chunks(path, schema, tables.SCHEMAS[schema].names)),
        tables.read(path, schema),
    )


def model(path: Path) -> object:
    """A trained model's folder, whichever of its files is named."""
    return saved.Trained(path.parent.parent if path.parent.name == "masks" else path.parent)


def experiment(path: Path) -> object:
    """The result of an experiment, whichever of its files is named; another one's table is read by `claims`."""
    if path.with_suffix(".json").exists():
        return document.read(path.with_suffix(".json"))
    return read_result(argparse.Namespace(metric="bleu", test=""), path, [])


PLACE = r"[\w.-]+/[\w.-]+/s\d+"
READERS: dict[str, Callable[[Path], object]] = {  # place of a file in a run -> its reader; the first that fits
    r"data/.*\bcounts\.parquet": of("counts"),
    r"data/clean/[^.]+\.parquet": of("clean"),
    r"data/clean/.*\.dropped\.jsonl": lambda path: inputs.read_dropped([path]),
    r"data/s\d+/train/[^.]+\.parquet": of("train"),
    r"data/(dev|test)/.*": of("heldout"),
    r"data/(s\d+/text|kept)/.*": of("text"),
    r"activations/.*": of("activations"),
    r"layers/.*": of("layers"),
    r"awareness/.*|awareness_parts/.*\.all\.parquet": of("awareness"),
    r"awareness_parts/.*": of("awareness_parts"),
    r"neurons/.*": of("neurons"),
    r"masks/.*": of("masks"),
    rf"finetune/{PLACE}/loss\.csv": inputs.read_loss,
    rf"finetune/{PLACE}/run\.json": inputs.read_object,
    rf"finetune/{PLACE}/(?!generation_config).*": model,
    r"pretrain/(?!loss).*": lambda path: loading.load(str(path.parent)),
    r"translate/.*\.jsonl": translations.read,
    r"translate/.*/prompts.*\.csv": inputs.read_prompts,
    r"translate/.*\.json": read_json,
    r"loss/.*": lambda path: read_csv(path, samples.LOSS_COLUMNS),
    r"evaluate/seen.*": lambda path: read_seen(argparse.Namespace(seen=path, train=[]), {}),
    r"evaluate/.*\.flags\.csv": lambda path: read_csv(path, FLAG_COLUMNS, ["line"]),
    r"evaluate/significance\.csv": read_significance,
    r"evaluate/.*\.csv": read_scores,
    r"evaluate/scores\.parquet": of("scores"),
    r"evaluate/.*\.segments\.parquet": lambda path: segments.read_all([path]),
    r"config\.yaml": inputs.read_config,
    r"tune/.*": read_json,
    r"experiments/.*\.(json|csv|svg)": experiment,
}
UNREAD = (  # written for people: nothing of Lander reads them, so no number can come from them
    r"report/.*|experiments/.*\.(md|yaml)|data/s\d+/counts\.csv|pretrain/loss\.csv|\..*"
    r"|(logs|benchmarks)/.*"  # Snakemake's own; of a benchmark that is not a table the report says so
    r"|finetune/.*/generation_config\.json"  # decoding does not ask it
)


def artifacts(run: Path) -> Iterator[tuple[str, Path]]:
    """Every file of a run that has a reader, and the pattern of its place; a file that fits nowhere is an error."""
    for path in sorted(run.rglob("*")):
        place = str(path.relative_to(run))
        alone = path.suffix == ".svg" and not path.with_suffix(".json").exists()  # the picture of a table
        if path.is_file() and not re.fullmatch(UNREAD, place) and not alone:
            yield next(pattern for pattern in READERS if re.fullmatch(pattern, place)), path


def without_last_row(path: Path, _others: list[Path]) -> bytes:
    """What is left if the last row is cut, so that the file can still be read."""
    if path.suffix == ".parquet":
        copy = path.with_name(".cut")
        pd.read_parquet(path).iloc[:-1].to_parquet(copy)
        try:
            return copy.read_bytes()
        finally:
            copy.unlink()
    return b"".join(path.read_bytes().splitlines(keepends=True)[:-1])


def half(path: Path, _others: list[Path]) -> bytes:
    """The first half of the bytes."""
    content = path.read_bytes()
    return content[: len(content) // 2]


def twin(path: Path, others: list[Path]) -> bytes | None:
    """Another file of the same kind: of another direction, language, method, variant or seed. None if all are equal."""
    content = path.read_bytes()
    found = (other.read_bytes() for other in others if other.suffix == path.suffix and other.name == path.name)
    found = [*found, *(other.read_bytes() for other in others if other.suffix == path.suffix)]
    return next((other for other in found if other != content), None)


DAMAGES = (without_last_row, half, twin)


def accepts(read: Callable[[Path], object], path: Path) -> bool:
    """Whether a damaged file is read; what refuses it must say so in one line that names the file."""
    try:
        read(path)
    except UserError as error:
        return path.name not in str(error) or "\n" in str(error)
    return True
