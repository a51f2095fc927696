"""Saved tables and model folders, damaged or made up: read as they are, or refused by name."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import trained
from fuzzing import TRICKY, damaged, fuzz, json_values, told
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

import lander
from lander.finetune import delta, saved
from lander.shared import tables

NAMES = sorted(tables.SCHEMAS)
METHODS = ("landermt", "lora", "adapter", "full")
MANIFEST = (*saved.Manifest.model_fields, "format", "files", "seed")
CONFIG = (
    "architectures", "model_type", "n_layer", "hidden_size", "n_head", "vocab_size", "dtype", "layer_norm_epsilon",
    "hidden_dropout", "auto_map", "eos_token_id", "quantization_config", "tie_word_embeddings", "nope",
)  # fmt: skip


def example(schema: pa.Schema) -> pa.Table:
    """Three rows of plausible values."""
    kinds = {pa.string(): ["a", "b", "c"], pa.bool_(): [True, False, True], pa.list_(pa.int32()): [[1], [2, 3], []]}
    kinds[pa.list_(pa.string())] = [["a"], ["b", "c"], []]
    return pa.table(
        {field.name: pa.array(kinds.get(field.type, [0, 1, 2]), field.type) for field in schema}, schema=schema
    )


@fuzz(120)
@given(data=st.data(), name=st.sampled_from(NAMES))
def test_damaged_tables(tmp_path_factory, data, name):
    file = tmp_path_factory.getbasetemp() / "fuzz.parquet"
    sound = example(tables.SCHEMAS[name])
    pq.write_table(sound, file, compression="zstd", write_page_checksum=True)  # as ours are
    file.write_bytes(data.draw(damaged(file.read_bytes())))
    told(lambda: tables.read(file, name))
    columns = sound.schema.names
    told(lambda: [chunk.to_pydict() for chunk in tables.read_chunks(file, name, columns)])


numbers, lists = st.integers(-2, 2**40), st.lists(st.none() | st.integers(0, 9), max_size=2)
kinds = (numbers, st.floats(), st.text(max_size=3), st.binary(max_size=3), lists, st.booleans())
columns = st.one_of(*(st.lists(st.none() | kind, max_size=3) for kind in kinds))


@fuzz(120)
@given(data=st.data(), name=st.sampled_from(NAMES))
def test_tables_with_other_columns(tmp_path_factory, data, name):
    file = tmp_path_factory.getbasetemp() / "fuzz.parquet"
    schema = tables.SCHEMAS[name]
    content = {field.name: list(example(schema)[field.name]) for field in schema}
    for column in data.draw(st.lists(st.sampled_from([*content, "other"]), max_size=2)):
        drawn = data.draw(columns)
        if column == "other" or not drawn:
            content.pop(column, None)
        else:
            content[column] = (drawn * 3)[:3]
    pq.write_table(pa.table({key: pa.array(value) for key, value in content.items()}), file)
    found = []
    if told(lambda: found.append(tables.read(file, name))) is None:
        assert list(found[0].columns) == schema.names
        assert len(found[0]) == 3
        required = [field.name for field in schema if not field.nullable]
        assert not found[0][required].isna().any(axis=None)
        assert (found[0][[one for one in tables.COUNTED if one in required]] >= 0).all(axis=None)
    told(lambda: list(tables.read_chunks(file, name, schema.names)))


@pytest.fixture(scope="module", params=METHODS)
def model(request, tmp_path_factory):
    """A trained model's folder, and its delta file; both are to be copied before they are touched."""
    made = trained.make(tmp_path_factory.mktemp(request.param), request.param)
    file = made.path.parent / "model.safetensors"
    delta.write(made.path, file, {"updates": 3})
    return made.path, made.base, file


def copy(folder: Path, name: str) -> Path:
    """A copy to spoil, in the place of the last one."""
    spoilt = folder.parent / name
    shutil.rmtree(spoilt, ignore_errors=True)
    shutil.copytree(folder, spoilt)
    return spoilt


def use(path: Path, base: Path | None = None) -> None:
    """Load a model and route it; nothing is written beside it."""
    translator = lander.load(path, base=str(base) if base else None)
    translator.translate(["a"], "en-de", max_new_tokens=1)


def use_damaged(folder: Path, data: st.DataObject) -> None:
    """Damage a file of a copy."""
    spoilt = copy(folder, "spoilt")
    chosen = data.draw(st.sampled_from(sorted(path for path in spoilt.rglob("*") if path.is_file())))
    chosen.write_bytes(data.draw(damaged(chosen.read_bytes())))
    told(lambda: use(spoilt))


@fuzz(12)
@given(key=st.sampled_from(MANIFEST), value=json_values, inner=st.booleans())
def test_manifests(model, key, value, inner):
    spoilt = copy(model[0], "spoilt")
    manifest = json.loads((spoilt / "lander.json").read_text())
    if inner and isinstance(manifest.get(key), dict) and manifest[key]:
        manifest[key][sorted(manifest[key])[0]] = value
    else:
        manifest[key] = value
    (spoilt / "lander.json").write_text(json.dumps(manifest))
    told(lambda: use(spoilt))


@fuzz(8)
@given(data=st.data())
def test_damaged_files_of_a_trained_model(model, data):
    use_damaged(model[0], data)


@fuzz(8)
@given(data=st.data())
def test_damaged_deltas(model, data):
    spoilt = model[0].parent / "spoilt.safetensors"
    spoilt.write_bytes(data.draw(damaged(model[2].read_bytes())))
    assert told(lambda: use(spoilt, model[1])) is not None  # its digest tells


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return trained.base(tmp_path_factory.mktemp("bases") / "base")


@fuzz(30)
@given(key=st.sampled_from(CONFIG), value=json_values)
def test_configs_of_bases(base, key, value):
    spoilt = copy(base, "spoilt")
    config = json.loads((spoilt / "config.json").read_text())
    (spoilt / "config.json").write_text(json.dumps(config | {key: value}))
    told(lambda: use(spoilt))


@fuzz(30)
@given(data=st.data())
def test_damaged_bases(base, data):
    use_damaged(base, data)


@pytest.mark.parametrize("name", ["../evil", "en-../../evil", "/tmp/evil-de", "en-de/..", *TRICKY[:6]])
def test_no_name_in_a_delta_leads_out_of_the_folder(tmp_path, name):
    """A delta that somebody else has made, its digest right, with a mask under a name that is a path."""
    made = trained.make(tmp_path / "made", "landermt")
    delta.write(made.path, tmp_path / "sound.safetensors", {})
    with safe_open(tmp_path / "sound.safetensors", "pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys() if key.startswith("blocks/")}  # noqa: SIM118
        tensors[f"masks/{name}"] = file.get_tensor("masks/en-de")
    manifest = json.loads(metadata["manifest"]) | {"masked": [name], "directions": [name]}
    trained.forge(tmp_path / "evil.safetensors", metadata, manifest, tensors)
    before = set(tmp_path.rglob("*"))
    message = told(lambda: delta.apply(tmp_path / "evil.safetensors", tmp_path / "out"))
    assert message is not None
    assert "is missing or wrong" in message
    assert set(tmp_path.rglob("*")) == before


def test_what_is_written_is_no_pickle(model):
    for path in model[0].rglob("*"):
        assert path.suffix in (".safetensors", ".parquet", ".json", ".jinja", "")
