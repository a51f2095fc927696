"""A trained model's manifest, and the record of its training, as they must be to be used.

They may come from other people: names in them become names of files, sizes become memory. Other keys are allowed.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from lander.config.methods import METHODS
from lander.shared.errors import UserError
from lander.shared.languages import parse_direction


def _text(text: str) -> str:
    text.encode()  # JSON can spell halves of characters, which no tokenizer and no file takes
    return text


def _direction(name: str) -> str:
    """A direction as files are called after it: nothing that leads out of a folder."""
    try:
        if str(parse_direction(name)) == name:
            return name
    except UserError:
        pass
    raise ValueError(name)


Text, Name = Annotated[str, AfterValidator(_text)], Annotated[str, AfterValidator(_direction)]


class Checked(BaseModel):
    model_config = ConfigDict(strict=True)


class Base(Checked):
    path: Text
    digest: str
    revision: str | None = None


class Routed(Checked):
    scale: Literal["input", "output"]
    gate: Literal["static", "learned", "off"]


class Sizes(Checked):
    bottleneck: int | None = Field(None, gt=0, le=1_000_000)


class Manifest(Checked):
    method: str
    base: Base
    directions: list[Name]
    languages: dict[str, Text]
    templates: list[Text] = Field(min_length=1)
    masked: list[Name]
    routing: Routed | None
    sizes: Sizes


class Count(Checked):
    used: int


class Settings(Checked):
    train: list[str] = []


class Record(Checked):
    """What a card prints of a training's record."""

    settings: Settings | None = None
    versions: dict[str, Any] | None = None
    pairs: dict[str, Count] | None = None
    sources: list[str] | None = None
    updates: int | None = None
    variant: str | None = None
    parameters_trained: int | None = None
    parameters_total: int | None = None
    commit: str | None = None
    git: dict[str, Any] | None = None


def check_manifest(manifest: dict[str, Any], where: Path) -> tuple[str, ...]:
    """Check the keys that loading relies on; UserError names the first one that is missing or wrong.

    Returns:
        The parts of the model (`lander.finetune.saved.PARTS`).
    """
    wrong, parts = _wrong(Manifest, manifest), ()
    if not wrong:
        if manifest["method"] not in METHODS:
            raise UserError(f"{where}: the method {manifest['method']!r} is unknown to this version of Lander")
        parts = METHODS[manifest["method"]].parts
        if "blocks" in parts and manifest["routing"] is None:
            wrong = "routing"
        if "bottlenecks" in parts and not manifest["sizes"].get("bottleneck"):
            wrong = "sizes.bottleneck"
    if wrong or not parts:
        raise UserError(f"{where}: `{wrong or 'method'}` is missing or wrong; train the model again")
    return parts


def check_provenance(made: Any, where: Path) -> None:
    """Check the types of what a card prints of a training's record."""
    if wrong := _wrong(Record, made):
        raise UserError(f"{where}: `{wrong}` of the training's record is damaged; train the model again")


def _wrong(kind: type[Checked], found: Any) -> str:
    """Dotted name of the first key that is not of its kind; empty if all are."""
    try:
        kind.model_validate(found)
    except ValidationError as error:
        return ".".join(map(str, error.errors(include_url=False)[0]["loc"])) or "it"
    return ""
