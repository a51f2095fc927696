"""Import of LAPE's files: a list over languages of lists over layers of tensors of neuron numbers."""

from pathlib import Path

import pytest
import torch
import toys

from lander import cli
from lander.detect.lape import masks_from_lape, read
from lander.shared import tables
from lander.shared.errors import UserError
from lander.shared.languages import Direction


def tensors(*layers: list[int]) -> list[torch.Tensor]:
    return [torch.tensor(numbers).long() for numbers in layers]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("base")
    toys.bloom().save_pretrained(folder)  # 2 layers of 64 neurons
    return str(folder)


@pytest.fixture
def neurons(tmp_path) -> Path:
    """English 1 and 3 of layer 0, 5 of layer 1; Chinese 3 and 60 of layer 0; French none."""
    torch.save([tensors([1, 3], [5]), tensors([3, 60], []), tensors([], [])], tmp_path / "x.neuron.pth")
    return tmp_path / "x.neuron.pth"


def test_masks_of_published_neurons(base, neurons, tmp_path, capsys):
    flags = ["--languages", "en,zh,fr", "--model", base, "--directions", "en-zh", "fr-zh", "--out", str(tmp_path / "m")]
    cli.main(["masks-from-lape", str(neurons), *flags])
    said = f"neurons in 2 layers: en 3, zh 2, fr 0; masks of en-zh, fr-zh: {tmp_path / 'm'}\n"
    assert capsys.readouterr().out == said
    mask = tables.read(tmp_path / "m" / "en-zh.parquet", "masks")
    assert len(mask) == 2 * 64
    specific = mask[mask["role"] != "general"].set_index(["layer", "neuron"])
    assert specific["role"].to_dict() == {(0, 1): "source", (0, 3): "source", (0, 60): "target", (1, 5): "source"}
    assert specific["owner"].to_dict() == {(0, 1): "en", (0, 3): "en+zh", (0, 60): "zh", (1, 5): "en"}
    assert set(mask["scale"]) == {1.0}
    assert mask["trained"].all()
    mask = tables.read(tmp_path / "m" / "fr-zh.parquet", "masks").set_index(["layer", "neuron"])
    assert mask.loc[[(0, 1), (0, 3), (1, 5)], "role"].tolist() == ["base", "target", "base"]
    assert not mask.loc[(0, 1), "trained"]


def test_some_layers_only(base, neurons, tmp_path, capsys):
    masks_from_lape(neurons, ["en", "zh", "fr"], base, [Direction("en", "zh")], tmp_path, layers=[1])
    assert tables.read(tmp_path / "en-zh.parquet", "masks")["layer"].unique().tolist() == [1]
    assert capsys.readouterr().out.startswith("neurons in 1 layer: en 1, zh 0, fr 0; masks of en-zh: ")
    with pytest.raises(UserError, match="the layers 0 to 1"):
        masks_from_lape(neurons, ["en", "zh", "fr"], base, [Direction("en", "zh")], tmp_path, layers=[2])


def test_what_does_not_fit_is_refused(base, neurons, tmp_path):
    with pytest.raises(UserError, match=r"2 given, but .* has 3"):
        read(neurons, ["en", "zh"], (2, 64))
    with pytest.raises(UserError, match="2 layers, but the model has 3"):
        read(neurons, ["en", "zh", "fr"], (3, 64))
    with pytest.raises(UserError, match="layer 0 has neuron 60, but the model has 32"):
        read(neurons, ["en", "zh", "fr"], (2, 32))
    with pytest.raises(UserError, match="no neurons of de"):
        masks_from_lape(neurons, ["en", "zh", "fr"], base, [Direction("en", "de")], tmp_path)
    with pytest.raises(UserError, match="--languages: en is given twice"):
        masks_from_lape(neurons, ["en", "en", "fr"], base, [Direction("en", "fr")], tmp_path)
    with pytest.raises(UserError, match="--model"):
        masks_from_lape(neurons, ["en", "zh", "fr"], "nobody/nothing", [Direction("en", "zh")], tmp_path)
    (tmp_path / "text").write_text("en zh fr")
    with pytest.raises(UserError, match="load safely"):
        read(tmp_path / "text", ["en"], (2, 64))
    torch.save({"a": torch.ones(1)}, tmp_path / "other")
    with pytest.raises(UserError, match="not LAPE's format"):
        read(tmp_path / "other", ["en"], (2, 64))


@pytest.mark.parametrize("numbers", [[1.5, 2.7], [1.0], [float("nan")], [True, False]])
def test_neuron_numbers_are_integers(numbers, tmp_path):
    torch.save([[torch.tensor(numbers), torch.tensor([])]], tmp_path / "x")
    with pytest.raises(UserError, match="layer 0 of language 0 is no list of neuron numbers, which are integers"):
        read(tmp_path / "x", ["en"], (2, 64))
    torch.save([[torch.tensor([2], dtype=torch.int32), torch.tensor([])]], tmp_path / "x")  # the empty one is float32
    assert read(tmp_path / "x", ["en"], (2, 64)).nonzero()[2].tolist() == [2]


def test_code_in_a_file_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    torch.save([[Trap()]], tmp_path / "trap")
    with pytest.raises(UserError, match="load safely"):
        read(tmp_path / "trap", ["en"], (1, 8))
    assert not (tmp_path / "sprung").exists()
