"""Imports run one way, stand at the top of their files, and every folder of code is shipped."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
FOLDERS = {name: ROOT / folder for name, folder in PROJECT["package-dir"].items()}

OUTERMOST = (
    "cli", "report", "figures", "dense", "summary", "difference", "drawing", "pictures", "api", "__init__", "__main__",
)  # fmt: skip
LAYERS: tuple[tuple[str, ...], ...] = (
    ("diagnostics", "durable", "philox", "version"),
    ("ir",),
    ("ops",),
    ("dsl", "passes", "backends"),
    ("setup", "placement", "measure", "functional"),
    ("compiler",),
    ("data", "training", "examples"),
    OUTERMOST,
)
"""From the bottom up. A layer's rooms may read those below; rooms of one layer must not know each other, but for:"""
TOGETHER = {("data", "training"), OUTERMOST}
OPTIONAL = {"cupy", "sklearn", "torch", "PIL", "simplejpeg", "matplotlib", "tensorboardX"}
"""What is imported where it is used, because it need not be there."""


def package_folder(package: str) -> Path:
    """Where the code of a package stands in the tree."""
    if package in FOLDERS:
        return FOLDERS[package]
    parent, _, name = package.rpartition(".")
    return package_folder(parent) / name


def modules() -> Iterator[tuple[str, Path]]:
    """All modules that are shipped, by their full names."""
    for package in PROJECT["packages"]:
        for path in sorted(package_folder(package).glob("*.py")):
            yield f"{package}.{path.stem}", path


MODULES = dict(modules())


def room(module: str) -> str:
    """`dsl` for alexnet_ir.dsl.parser, `compiler` for alexnet_ir.compiler."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def rank(name: str) -> int:
    found = [number for number, names in enumerate(LAYERS) if name in names]
    assert found, f"`{name}` has no layer: give it one in LAYERS"
    return found[0]


def imported(tree: ast.AST, of_type: bool = False) -> Iterator[tuple[ast.stmt, str]]:
    """The import statements below a node, and what they import; those for types alone only if asked."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING" and not of_type:
            continue
        if isinstance(child, ast.Import):
            yield from ((child, alias.name) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"line {child.lineno}: a relative import"
            for alias in child.names:
                full = f"{child.module}.{alias.name}"
                known = full in MODULES or any(name.startswith(f"{full}.") for name in MODULES)
                yield child, full if known else str(child.module)
        yield from imported(child, of_type)


def may_read(reader: str, read: str) -> bool:
    if reader == read or rank(read) < rank(reader):
        return True
    return any({reader, read} <= set(names) for names in TOGETHER)


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    for statement, name in imported(tree, of_type=True):
        if name.split(".")[0] == "alexnet_ir":
            assert may_read(room(module), room(name)), f"{module}:{statement.lineno} reads {name}"


@pytest.mark.parametrize("module", MODULES)
def test_no_import_hides_in_a_function(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    hidden = {(statement.lineno, name) for function in functions for statement, name in imported(function)}
    assert {(line, name) for line, name in hidden if name.split(".")[0] not in OPTIONAL} == set()


def test_no_module_reads_itself_in_a_circle() -> None:
    reads = {
        module: {n for _, n in imported(ast.parse(path.read_text(encoding="utf-8"))) if n in MODULES}
        for module, path in MODULES.items()
    }
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above, module))
        if module not in done:
            for name in sorted(reads[module]):
                visit(name, (*above, module))
            done.add(module)

    for module in reads:
        visit(module, ())


@pytest.mark.parametrize("folder", sorted(set(FOLDERS.values())), ids=lambda folder: folder.name)
def test_every_folder_of_code_is_shipped(folder: Path) -> None:
    listed = {package_folder(package) for package in PROJECT["packages"]}
    with_code = {path.parent for path in folder.rglob("*.py") if "__pycache__" not in path.parts}
    assert with_code <= listed, "add it to `packages` in pyproject.toml"
    assert not [path for path in listed if not (path / "__init__.py").exists()], "a package without __init__.py"


def test_every_file_beside_the_code_is_shipped() -> None:
    patterns = {
        package_folder(package) / pattern for package, found in PROJECT["package-data"].items() for pattern in found
    }
    wanted = {path for folder in FOLDERS.values() for path in folder.rglob("*") if path.is_file()}
    for path in wanted:
        if path.suffix not in (".py", ".pyc") and "__pycache__" not in path.parts:
            assert any(path.match(str(pattern)) for pattern in patterns), f"{path.name} is not in package-data"


@pytest.mark.parametrize("name", ["reference", "cpu"])
def test_a_backend_is_not_known_below_the_setup(name: str) -> None:
    for module, path in MODULES.items():
        if rank(room(module)) < rank("setup") and room(module) != "backends":
            assert f"backends.{name}" not in path.read_text(encoding="utf-8"), module
