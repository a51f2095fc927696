"""The reader of CSV: values as in the file; each fault in one line with the file, the column or the line."""

from pathlib import Path

import pytest

from lander.shared.csvfile import read_csv
from lander.shared.errors import UserError


def test_values_stay_text_but_for_the_numbers(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b,c\n007,1.5,NA\n,nan,x\n")
    table = read_csv(path, ["a", "b"], ["b"])
    assert table["a"].tolist() == ["007", ""]
    assert table["c"].tolist() == ["NA", "x"]
    assert table["b"][0] == 1.5
    assert table["b"].isna()[1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "t.csv: no such file; make it"),
        (b"", "t.csv: cannot be read as CSV"),
        (b"\xff\xfe", "t.csv: cannot be read as CSV"),
        (b"a,b\n1,2\n1,2,3\n", "t.csv: cannot be read as CSV"),
        (b"a,c\n1,2\n", "t.csv: no column b"),
        (b"a,b\nx,1\ny,2\nz,\n", "t.csv, line 4: b '' is not a number"),
        (b"a,b\nx,1\ny,nan\nz,1,\n", "t.csv: cannot be read as CSV"),
        (b"a,b\nx,nan\ny\n", "t.csv, line 3: b '' is not a number"),  # a line that is cut short
    ],
)
def test_faults_are_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UserError) as error:
        read_csv(tmp_path / "t.csv", ["a", "b"], ["b"], absent="make it")
    assert said in str(error.value)
    assert "\n" not in str(error.value)
