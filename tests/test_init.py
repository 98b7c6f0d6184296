"""The package as a whole: what an import costs, which way imports run, size and docstrings."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import earthtie_lite as et

FOLDER = Path(et.__file__).parent


def within(folder, *names):
    return [f"{folder}.{name}" for name in names]


ORDER = [
    "streams",
    "coords",
    "places",
    "storage",
    "encodings",
    "features",
    "losses",
    "sample",
    "checks",
]
ORDER += ["own", "modalities", "config", "hub", "location", "joined", "models", "checkpoint"]
ORDER += ["pretrained", "batches", "devices", "optimiser", "progress", "train"]
ORDER += within("paper", "archives", "catalogue", "transfer", "fetch", "files", "bulk", "frozen")
ORDER += within("paper", "towers", "observations", "wikipedia", "sources", "terrain")
ORDER += ["tasks", "protocol", "ridge", "estimators", "probes", "maps"]
ORDER += within("paper", "labels", "miniatures")
ORDER += within("experiments", "peers", "pairing", "inference", "evaluate", "retrieval", "results")
ORDER += within("experiments", "rows", "embeddings", "plans", "bottleneck", "runner", "charts")
ORDER += within("interfaces", "tablefiles", "tables", "embedder", "pixels", "grid")
ORDER += within("interfaces", "similarity", "console", "training", "cli")
FILES = sorted(FOLDER.rglob("*.py"))
LAZY = ("cartopy", "torchvision", "sklearn", "pandas", "matplotlib", "rasterio", "geopandas")


def dotted(path):
    """Name a file of the package: "paper.fetch"; a folder by itself: "paper"."""
    parts = path.relative_to(FOLDER).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def syntax(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def test_importing_brings_nothing_heavy_beyond_torch():
    # What torch itself brings does not count.
    code = (
        "import sys, torch; before = set(sys.modules); import earthtie_lite; "
        f"print([m for m in {LAZY} if m in sys.modules and m not in before])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=FOLDER.parent
    )
    assert done.stdout.strip() == "[]"


def test_every_exported_name_exists():
    for name in et.__all__:
        assert getattr(et, name) is not None
    assert sorted(set(et.__all__)) == et.__all__


def test_an_unknown_name_is_refused():
    with pytest.raises(AttributeError, match="module 'earthtie_lite' has no attribute 'magic'"):
        et.magic  # noqa: B018


def test_figures_are_reached_through_the_package():
    assert et.maps.__name__ == "earthtie_lite.maps"


def test_all_files_are_in_the_order_of_imports():
    assert sorted(ORDER) == sorted(dotted(p) for p in FILES if p.stem != "__init__")


@pytest.mark.parametrize("name", ORDER)
def test_imports_run_downwards(name):
    path = FOLDER.joinpath(*name.split(".")).with_suffix(".py")
    for node in ast.walk(syntax(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            start = name.split(".")[: -node.level]
            base = [*start, *(node.module or "").split(".")] if node.module else start
            below = [".".join(base)]
            if below[0] not in ORDER:
                below = [".".join([*base, alias.name]) for alias in node.names]
            for other in below:
                assert ORDER.index(other) < ORDER.index(name), f"{name} imports {other}"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            assert not any(n.split(".")[0] == "earthtie_lite" for n in names)


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_only_maps_imports_cartopy_and_nothing_imports_torchvision(path):
    for node in ast.walk(syntax(path)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            roots = {n.split(".")[0] for n in names}
            assert "torchvision" not in roots
            assert path.stem == "maps" or "cartopy" not in roots
            assert "*" not in names


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_no_file_is_longer_than_300_lines_of_code(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert sum(1 for line in lines if line.strip() and not line.strip().startswith("#")) <= 300


def test_each_file_is_on_the_pages_of_the_interface_once():
    pages = (FOLDER.parent / "book").glob("api*.md")
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    named = re.findall(r"automodule:: earthtie_lite\.(\S+)", text)
    assert sorted(named) == sorted(ORDER)


def public(tree):
    """Yield public functions, classes and methods."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                for part in node.body:
                    if isinstance(part, ast.FunctionDef) and not part.name.startswith("_"):
                        yield part


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_everything_public_has_a_docstring_of_one_line_first(path):
    tree = syntax(path)
    assert ast.get_docstring(tree)
    for node in public(tree):
        lines = (ast.get_docstring(node) or "").splitlines()
        assert lines, f"{path.stem}.{node.name}"
        assert lines[0].endswith((".", ":")), f"{path.stem}.{node.name}: {lines[0]}"
        assert len(lines) == 1 or not lines[1], f"{path.stem}.{node.name}"


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_nothing_touches_the_search_path_or_keeps_state(path):
    for node in ast.walk(syntax(path)):
        assert not isinstance(node, ast.Global)
        assert not (isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path")
