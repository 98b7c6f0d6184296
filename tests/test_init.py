"""The package as a whole: what an import costs, which way imports run, size and docstrings."""

import ast
import importlib.util
import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

import earthtie_lite as et
from earthtie_lite.paper import towers

FOLDER = Path(et.__file__).parent
ROOT = FOLDER.parent
PARTS = {  # the modules of each folder: one imports those before it, never those after it
    "": "coords distributed config losses files sample frames places features columns encodings "
    "networks encoders modalities model runs train tasks probes maps progress",
    "paper": "catalogue files fetch bulk towers observations wikipedia sources terrain labels "
    "miniatures",
    "results": "protocol intervals scoring tables charts peers satclip retrieval variants growth",
    "interfaces": "textfiles tablefiles tables embedder pixels grid lazy similarity console "
    "training cli",
}
ORDER = [f"{part}.{name}".lstrip(".") for part in PARTS for name in PARTS[part].split()]
EXCEPTIONS = {  # upward imports: module, function, what it imports
    ("tasks", "load_task", "earthtie_lite.paper.labels"),
    ("features", "from_spec", "earthtie_lite.paper.towers"),
    ("model", "embed", "earthtie_lite.interfaces.lazy"),
    ("encoders", "embed", "earthtie_lite.interfaces.lazy"),
    ("coords", "as_lonlat", "earthtie_lite.places"),
}
FILES = sorted(FOLDER.rglob("*.py"))
SIZES = [  # lines of code
    ("core", ["earthtie_lite/*.py"], 3_200),
    ("interfaces", ["earthtie_lite/interfaces/*.py"], 1_465),
    ("paper", ["earthtie_lite/paper/*.py"], 1_060),
    ("results", ["earthtie_lite/results/*.py"], 1_090),
    ("outside the package", ["data/experiments/*.py", "data/*.py", "book/*.py"], 1_360),
]
LAZY = ("cartopy", "torchvision", "sklearn", "pandas", "matplotlib", "rasterio", "geopandas")


def dotted(path):
    """Name a file of the package: "paper.fetch"; a folder by itself: "paper"."""
    parts = path.relative_to(FOLDER).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def syntax(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def in_a_process(code):
    """Return what a new process prints that has imported torch and sys."""
    command = [sys.executable, "-c", f"import sys, time, torch\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.strip()


# ------------------------------------------------------------------------------------- names


def test_importing_and_using_the_names_brings_nothing_heavy_beyond_torch():
    # What torch itself brings does not count; Embedder is scikit-learn's, maps are matplotlib's.
    found = in_a_process(f"""
before = set(sys.modules)
import earthtie_lite as et
for name in set(et.__all__) - {{"Embedder", "maps"}}:
    getattr(et, name)
print([m for m in {LAZY} if m in sys.modules and m not in before])""")
    assert found == "[]"


def test_importing_takes_less_than_a_fifth_of_a_second_beyond_torch():
    code = """
start = time.perf_counter()
import earthtie_lite
print(time.perf_counter() - start)"""
    assert min(float(in_a_process(code)) for _ in range(3)) < 0.2


def test_every_exported_name_exists():
    for name in et.__all__:
        assert getattr(et, name) is not None
    assert sorted(set(et.__all__)) == et.__all__
    assert set(et.__all__) >= set(PARTS[""].split()) | set(PARTS) - {""}


def test_an_unknown_name_is_refused():
    with pytest.raises(AttributeError, match="magic"):
        et.magic  # noqa: B018


@pytest.mark.parametrize("name", et._MOVED)
def test_a_module_of_the_first_edition_says_where_it_is_now(name):
    place = f"earthtie_lite.{et._MOVED[name]}"
    with pytest.raises(AttributeError, match=f"earthtie_lite.{name} is now part of {place}$"):
        getattr(et, name)
    assert importlib.util.find_spec(place)
    assert not importlib.util.find_spec(f"earthtie_lite.{name}")


def test_a_saved_model_loads_in_a_fresh_process(tmp_path):
    featurisers = {"name": et.CharacterNGrams(8), "article": towers.ClipTexts()}
    encoder = et.LocationEncoder(et.SphericalHarmonics(3), 8, 1, 4)
    model = et.EarthTie(encoder, {"name": 8, "article": 512}, featurisers)
    model.save_pretrained(tmp_path)
    code = f"import earthtie_lite; print(earthtie_lite.load_pretrained({str(tmp_path)!r}).spec)"
    assert in_a_process(code) == str(model.spec)


# ----------------------------------------------------------------------------------- imports


def imports(name):
    """Yield (module, function around the import, whether it is relative) of all imports."""
    package = f"earthtie_lite.{name}".rpartition(".")[0]

    def walk(node, function):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, function, False) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                dots = "." * child.level
                base = importlib.util.resolve_name(dots + (child.module or ""), package)
                names = [f"{base}.{alias.name}" for alias in child.names]
                known = any(f"{base}.".startswith(f"earthtie_lite.{m}.") for m in ORDER)
                yield from ((n, function, bool(dots)) for n in ([base] if known else names))
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from walk(child, child.name if inside else function)

    yield from walk(syntax(FOLDER.joinpath(*name.split(".")).with_suffix(".py")), None)


def may_import(name, other):
    """Tell whether a module may import another one, both without "earthtie_lite."."""
    folder = other.rpartition(".")[0]
    return folder in ("", name.rpartition(".")[0]) and ORDER.index(other) < ORDER.index(name)


def test_all_files_are_in_the_order_of_imports():
    assert sorted(ORDER) == sorted(dotted(p) for p in FILES if p.stem != "__init__")


@pytest.mark.parametrize("name", ORDER)
def test_imports_run_downwards(name):
    for module, function, relative in imports(name):
        root, _, other = module.partition(".")
        assert root != "data", f"{name} imports {module}, which is not in the wheel"
        assert relative == (root == "earthtie_lite"), f"{name} imports {module}: write it with dots"
        if relative and (name, function, module) not in EXCEPTIONS and other != "__version__":
            assert other in ORDER, f"{name} imports {module}"
            assert may_import(name, other), f"{name} imports {other}"


def test_each_exception_is_one_import_in_one_function():
    found = [(n, function, module) for n in ORDER for module, function, _ in imports(n)]
    upwards = [f for f in found if f[2].startswith("earthtie_lite.") and f[2].count(".") == 2]
    upwards = [f for f in upwards if "." not in f[0]]
    assert sorted(upwards) == sorted(rule for rule in EXCEPTIONS if rule[2].count(".") == 2)
    assert set(EXCEPTIONS) <= set(found)


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_no_import_within_the_package_is_hidden(path):
    for node in ast.walk(syntax(path)):
        called = ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
        assert called not in ("__import__", "import_module"), ast.unparse(node)


@pytest.mark.parametrize("name", ORDER)
def test_only_maps_imports_cartopy_and_only_towers_the_networks(name):
    for module, function, _ in imports(name):
        root = module.split(".")[0]
        networks = root in ("torchvision", "timm", "open_clip", "transformers")
        assert not networks or (name == "paper.towers" and function is not None)
        assert name == "maps" or root != "cartopy"
        assert not module.endswith("*")


# ---------------------------------------------------------------------- size and documentation


def code_lines(path):
    """Count the lines of a file that are neither blank nor comment nor docstring."""
    text, lines = path.read_text(encoding="utf-8"), set()
    layout = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in (*layout, tokenize.ENDMARKER):
            lines.update(range(token.start[0], token.end[0] + 1))
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(lines)


@pytest.mark.parametrize(("patterns", "most"), [s[1:] for s in SIZES], ids=[s[0] for s in SIZES])
def test_each_part_has_few_lines_of_code(patterns, most):
    lines = {p: code_lines(p) for pattern in patterns for p in sorted(ROOT.glob(pattern))}
    assert sum(lines.values()) <= most, {p.stem: n for p, n in lines.items()}


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_no_file_is_longer_than_300_lines_of_code(path):
    assert code_lines(path) <= 300


def documented(page, kind):
    """Return what a page of the reference documents by directives of that kind."""
    text = (ROOT / "book" / page).read_text(encoding="utf-8")
    return re.findall(rf"auto(?:{kind}):: earthtie_lite\.([\w.]+)", text)


def test_each_public_name_is_on_the_first_page_of_the_reference_once():
    public_names = [n for n in et.__all__ if callable(getattr(et, n))]
    named = [name.rpartition(".")[2] for name in documented("api.md", "function|class")]
    assert sorted(named) == sorted([*public_names, "embed_lazy"])


def test_each_file_is_on_the_pages_of_the_reference_once():
    pages = ("api.md", "api_inside.md", "api_results.md", "api_paper.md")
    assert sorted(m for page in pages for m in documented(page, "module")) == sorted(ORDER)


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
