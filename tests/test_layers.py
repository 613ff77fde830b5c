"""The shape of the house: imports point down, packages have one door, the laptop is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from vidgen.console import ENGINE_MODULES

ROOT = Path(__file__).parent.parent / "vidgen"

# Higher may import lower or equal; the longest matching name counts.
TIERS = {
    "vidgen": 0,
    "vidgen.errors": 0,
    "vidgen.config": 0,
    "vidgen.recipes": 0,
    "vidgen.sweeps": 0,
    "vidgen.types": 1,
    "vidgen.nn": 1,
    "vidgen.storage": 1,
    "vidgen.observe": 1,
    "vidgen.rl": 2,
    "vidgen.data": 2,
    "vidgen.models": 2,
    "vidgen.metrics": 2,
    "vidgen.study": 2,
    "vidgen.engine": 3,
    "vidgen.tune": 3,
    "vidgen.cloud": 3,
    "vidgen.cli": 4,
    "vidgen.data_cli": 4,
    "vidgen.measure_cli": 4,
    "vidgen.study_cli": 4,
    "vidgen.observe_cli": 4,
    "vidgen.tune_cli": 4,
    "vidgen.cloud.cli": 4,
}
DOORS = {
    "boto3": ["vidgen.storage"],
    "botocore": ["vidgen.storage"],
    "av": ["vidgen.data"],
    "ray": ["vidgen.engine", "vidgen.tune"],
    "optuna": ["vidgen.tune"],
    "torchmetrics": ["vidgen.metrics"],
    "cv2": ["vidgen.metrics"],
    "prometheus_client": ["vidgen.observe"],
    "kubernetes": ["vidgen.cloud"],
}
LAPTOP = {
    "click", "pydantic", "yaml", "rich", "kubernetes", "boto3", "botocore", "pathspec",
    "typing_extensions", "urllib3",
}  # fmt: skip
TRACKERS = {"tensorboard", "mlflow", "wandb"}  # an extra each


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def longest(name: str, table: dict[str, int]) -> int:
    return table[max((k for k in table if name == k or name.startswith(k + ".")), key=len)]


def room(name: str) -> str:
    """'vidgen.data' for 'vidgen.data.video'; the command lines are a room each."""
    return ".".join(name.split(".")[:2])


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports(name: str, *, top_level: bool = False) -> set[str]:
    """Names a module imports; `top_level`: only those that run when it is imported."""
    tree = ast.parse(MODULES[name].read_text())
    found: set[str] = set()
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            found |= {
                f"{node.module}.{a.name}"
                if f"{node.module}.{a.name}" in MODULES
                else str(node.module)
                for a in node.names
            }
        lazy = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        )
        if not (top_level and lazy):
            pending.extend(ast.iter_child_nodes(node))
    return found


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_down_and_use_the_doors(name: str) -> None:
    mine = longest(name, TIERS)
    for other in imports(name):
        top = other.split(".")[0]
        if top == "vidgen":
            assert longest(other, TIERS) <= mine, f"{name} imports {other}, which is above it"
        if top in DOORS:
            assert any(name == door or name.startswith(door + ".") for door in DOORS[top]), (
                f"{name} imports {top}, whose door is {DOORS[top]}"
            )


def test_families_do_not_import_each_other() -> None:
    for name in MODULES:
        parts = name.split(".")
        if parts[:2] == ["vidgen", "models"] and len(parts) > 3:
            for other in imports(name):
                theirs = other.split(".")
                if theirs[:2] == ["vidgen", "models"] and len(theirs) > 3:
                    assert theirs[2] == parts[2], f"{name} imports {other}"


def test_rooms_have_no_circles() -> None:
    """Of two rooms at most one knows the other, also in imports that wait inside a function."""
    rooms: dict[str, set[str]] = {}
    for name in MODULES:
        mine = room(name)
        rooms.setdefault(mine, set()).update({room(i) for i in imports(name) if i in MODULES})
        rooms[mine] -= {mine, "vidgen"}
    left = dict(rooms)
    while free := {name for name, others in left.items() if not others & left.keys()}:
        left = {name: others for name, others in left.items() if name not in free}
    assert not left


def test_a_name_is_imported_from_its_home() -> None:
    """A module that hands on what another one made gives it a second address."""
    made: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        given = [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.ImportFrom)]
        made[name] = {alias.asname or alias.name for node in given for alias in node.names}
    handed_on = {
        f"{name}: {alias.name} from {node.module}"
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module in made
        for alias in node.names
        if alias.name in made[node.module] and f"{node.module}.{alias.name}" not in MODULES
    }
    assert handed_on == set()


def test_no_import_circles() -> None:
    graph = {n: {i for i in imports(n, top_level=True) if i in MODULES} - {n} for n in MODULES}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for other in graph[name]:
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_every_package_is_the_laptops_or_the_engines() -> None:
    """What is neither ends in a traceback where it is not installed, not in one line."""
    used = {each.partition(".")[0] for name in MODULES for each in imports(name)}
    assert used - set(sys.stdlib_module_names) - {"vidgen"} == LAPTOP | TRACKERS | ENGINE_MODULES


def test_laptop_code_reaches_no_engine() -> None:
    """Nor does what `vidgen top` and `vidgen explain` load: laptops watch runs too."""
    rooms = ("vidgen.cloud", "vidgen.config", "vidgen.storage")
    pending = [name for name in MODULES if name.startswith(rooms) or name.endswith("cli")]
    pending += [name for name in imports("vidgen.observe_cli") if name in MODULES]
    done: set[str] = set()
    while pending:
        name = pending.pop()
        if name in done:
            continue
        done.add(name)
        found = imports(name, top_level=True)
        heavy = {each.partition(".")[0] for each in found} & ENGINE_MODULES
        assert not heavy, f"{name} imports {heavy}"
        pending += [each for each in found if each in MODULES]


@pytest.mark.parametrize(
    "command",
    [
        ["vidgen.cloud.cli", "--help"],
        ["vidgen.cli", "--help"],
        ["vidgen.cli", "recipes"],
        ["vidgen.cli", "config", "show", "shapes-flow"],
    ],
    ids=" ".join,
)
def test_the_laptop_loads_no_engine(command: list[str]) -> None:
    """Run the command in a fresh interpreter and look at what it imported."""
    script = (
        "import sys, importlib\n"
        f"main = importlib.import_module({command[0]!r}).main\n"
        f"sys.argv = ['vidgen', *{command[1:]!r}]\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "heavy = {'torch', 'ray', 'numpy', 'av', 'pyarrow', 'torchmetrics'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_long_files_say_why() -> None:
    """A file past 400 lines is asking to be two."""
    for name, path in MODULES.items():
        lines = path.read_text().count("\n")
        assert lines <= 400, f"{name} has {lines} lines"
