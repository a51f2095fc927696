"""The rooms of the package: a module imports from its own room and from rooms below it, never from above."""

import ast
from pathlib import Path

import pytest

import lander

PACKAGE = Path(lander.__file__).parent
FLOORS = (  # from the ground up; rooms of one floor do not know each other
    "shared, data, evaluate, config, models report, detect finetune, experiments translate, workflow, share, cli"
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS.split(", ")) for room in rooms.split()}


def imports(file: Path) -> set[str]:
    """Rooms of Lander that a file imports from, its own included, wherever the import stands."""
    found = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("lander.")}
    return found & set(FLOOR)


def test_every_room_has_a_floor() -> None:
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert rooms - {"__init__"} == set(FLOOR)


@pytest.mark.parametrize("room", sorted(FLOOR))
def test_no_arrow_runs_back(room: str) -> None:
    files = [PACKAGE / f"{room}.py"] if (PACKAGE / f"{room}.py").is_file() else (PACKAGE / room).rglob("*.py")
    found = [(str(file.relative_to(PACKAGE)), other) for file in files for other in imports(file) - {room}]
    assert not [(file, other) for file, other in found if FLOOR[other] >= FLOOR[room]]
