"""Upload a model to the Hugging Face hub, with a card that is true there: `lander push MODEL --to owner/name`.

A trained model's folder goes without what belongs to its run (log, record, paths of this machine), and its base is
named by its id. An exported folder goes as it is, its card with the new name. Who may write there is the hub client's
business (`hf auth login`, or HF_TOKEN): this module asks for no password and reads none.
"""

import shutil
import tempfile
from dataclasses import astuple
from pathlib import Path

from lander.config.base import HUB_NAME, is_model
from lander.data.templates import Template
from lander.finetune import saved
from lander.models import loading
from lander.models.plain import hub_id
from lander.share.card import NAME, Card
from lander.share.export import EXAMPLE
from lander.shared.errors import UserError, brief
from lander.shared.files import read_json, write_json, write_text
from lander.shared.languages import language_name, parse_direction

FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", NAME)  # of an exported folder


def push(path: str, to: str, *, private: bool, dry_run: bool, scores: Path | None, license: str | None) -> str:
    """Upload a trained or exported model. Returns what was, or would be, uploaded: files with their sizes, the card."""
    if not HUB_NAME.fullmatch(to):
        raise UserError(f"--to: {to}: a model on the hub is called owner/name")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary, "model")
        folder.mkdir()
        if saved.is_trained_model(path):
            stage_trained(saved.Trained(path), folder, to, scores, license)
        else:
            stage_exported(Path(path), folder, to)
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        rows = [f"{file.stat().st_size:>14,}  {file.relative_to(folder)}" for file in files]
        shown = "\n".join([f"{to}:", *rows, "", (folder / NAME).read_text(encoding="utf-8")])
        if not dry_run:
            shown = f"{upload(folder, to, private)}\n{shown}"
        return shown


def stage_trained(trained: saved.Trained, folder: Path, to: str, scores: Path | None, license: str | None) -> None:
    """Put what others need of a trained model into an empty folder."""
    manifest, adapter = trained.manifest, folder / "adapter_config.json"
    others = [file.name for file in trained.path.glob("generation_config.json")]
    for name in (*manifest["files"], *others):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(trained.path / name, folder / name)
    known = manifest["base"]
    id_, commit = hub_id(known["path"])
    place = {"path": id_ or Path(known["path"]).name, "revision": commit or known.get("revision")}
    if adapter.is_file():
        named = {"base_model_name_or_path": place["path"], "revision": place["revision"]}
        write_json(adapter, read_json(adapter) | named)
    manifest = {key: value for key, value in manifest.items() if key not in ("files", "format")}
    saved.write_manifest(folder, manifest | {"base": known | place})
    directions, codec = manifest["directions"], loading.load_codec(str(trained.path))
    card = Card(str(trained.path), trained, directions, scores, license)
    names = (manifest["languages"].get(code) or language_name(code) for code in astuple(parse_direction(directions[0])))
    prompt = Template("trained", manifest["templates"][0]).fill(EXAMPLE, *names)
    card.write(folder / NAME, "hub", to, directions, prompt=prompt, chat=codec.style == "chat")


def stage_exported(path: Path, folder: Path, to: str) -> None:
    """Put an exported folder into an empty one, its card with the new name."""
    if not is_model(path) or not (path / NAME).is_file():
        below = sorted(str(file.parent) for file in path.glob("*/config.json")) if path.is_dir() else []
        advice = f"name one of its folders, as {below[0]}" if below else "`lander export` writes one"
        raise UserError(f"{path}: neither a trained model's folder nor an exported one with its card; {advice}")
    for file in (file for pattern in FILES for file in path.glob(pattern)):
        shutil.copyfile(file, folder / file.name)
    card = (path / NAME).read_text(encoding="utf-8")
    write_text(
        folder / NAME, card.replace(repr(path.name), repr(to)).replace(f"- name: {path.name}\n", f"- name: {to}\n")
    )


def upload(folder: Path, to: str, private: bool) -> str:
    """Make the repository, if it is not there, and upload the folder. Returns the address of the commit."""
    from huggingface_hub import HfApi

    api = HfApi(library_name="lander")
    try:
        api.create_repo(to, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=to, folder_path=folder, commit_message="Upload by lander push"))
    except Exception as error:  # of the hub, the libraries below it, the network
        advice = "log in with `hf auth login` (or set HF_TOKEN) as one who may write there, and unset HF_HUB_OFFLINE"
        raise UserError(f"--to: {to}: the hub did not take it ({brief(error, 200)}); {advice}") from None
