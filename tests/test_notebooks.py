"""Every notebook runs in profile smoke, keeps the book's rules, and its stored outputs fit."""

import ast
import base64
import importlib
import importlib.util
import io
import re
from pathlib import Path

import jupytext
import nbformat
import numpy as np
import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
_spec = importlib.util.spec_from_file_location("book_build", ROOT / "book" / "build.py")
build = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(build)

SOURCES = build.sources()
notebook = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
CARD = ("You will be able to", "Prerequisites", "Data", "Time")
MAX_LINES, MAX_CELLS, MAX_WORDS, MAX_FIGURES = 15, 45, 2500, 8
MAX_CAPTION = 40  # words
FIGURE_PIXELS = 1200, 1640  # wide: 6 to 8.2 inches of 200 dots, so that text keeps its size
MIN_POINTS = 9  # of text in a figure


def cells(source, kind=None, tag=None):
    found = jupytext.read(source).cells
    if kind is not None:
        found = [cell for cell in found if cell.cell_type == kind]
    return [c for c in found if tag is None or tag in c.metadata.get("tags", [])]


def syntax(cell):
    """Parse a cell; lines of IPython (% and !) count as comments."""
    lines = [re.sub(r"^(\s*)[%!].*", r"\1pass", line) for line in cell.source.splitlines()]
    return ast.parse("\n".join(lines))


def names(tree):
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def conditions(tree):
    """Yield every expression that decides what is run."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If | ast.IfExp | ast.While | ast.Assert):
            yield node.test
        elif isinstance(node, ast.Match):
            yield node.subject
            yield from (case.guard for case in node.cases if case.guard is not None)
        elif isinstance(node, ast.BoolOp | ast.Compare):
            yield node
        elif isinstance(node, ast.comprehension):
            yield from node.ifs


def stored(source):
    return nbformat.read(source.with_suffix(".ipynb"), as_version=4)


def pictures(cell):
    """Return for each output of a cell whether it is a picture."""
    kinds = [list(output.get("data", {})) for output in cell.get("outputs", [])]
    return [any(kind.startswith("image/") for kind in some) for some in kinds]


def has_image(cell):
    return any(pictures(cell))


# ---------------------------------------------------------------------------- the set


def test_there_are_notebooks():
    assert SOURCES


def test_the_book_lists_every_notebook_and_no_other():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    listed = [c["file"] for part in toc["parts"] for c in part["chapters"]]
    listed = [name for name in listed if name.startswith("notebooks/")]
    assert listed == [f"notebooks/{source.stem}" for source in SOURCES]


def test_every_stored_notebook_has_a_source():
    stems = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert stems == {source.stem for source in SOURCES}


# ---------------------------------------------------------------------------- running


@notebook
def test_runs_in_profile_smoke(source, tmp_path):
    done = nbformat.read(build.execute(source, tmp_path, "smoke"), as_version=4)
    code = [cell for cell in done.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code if cell.source.strip())
    assert done.metadata["earthtie"]["profile"] == "smoke"


def test_notebooks_run_side_by_side_each_in_the_folder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "book")
    module = importlib.import_module("build")  # by a name that its processes find
    toys = [tmp_path / f"{number}_toy.py" for number in (97, 98, 99)]
    # The first is long to read: it starts after the second and ends before it.
    for toy, cells_before, seconds in zip(toys, (150, 0, 0), (0, 12, 0)):
        code = f"# %%\nimport time\ntime.sleep({seconds})\nopen('{toy.stem}', 'w').close()\n"
        toy.write_text("# %% [markdown]\n# Text\n\n" * cells_before + code)
    monkeypatch.setattr(module, "sources", lambda: toys)
    monkeypatch.chdir(tmp_path)
    done = module.run("sample", Path("new") / "out", [], jobs=2)
    assert done == [tmp_path / "new" / "out" / f"{toy.stem}.ipynb" for toy in toys]
    names = [f"{toy.stem}{end}" for toy in toys for end in ("", ".ipynb")]
    assert sorted(path.name for path in (tmp_path / "new" / "out").iterdir()) == names


def test_an_unknown_profile_is_refused(tmp_path):
    with pytest.raises(build.NotebookError, match=r"unknown profile 'huge'.*'smoke'"):
        build.execute(SOURCES[0], tmp_path, "huge")


def test_a_failing_notebook_is_named_with_its_cell_and_error(tmp_path):
    source = tmp_path / "99_fails.py"
    source.write_text("# %%\nx = 1\n\n# %%\nraise RuntimeError('on purpose')\n")
    with pytest.raises(build.NotebookError, match=r"99_fails.py.*RuntimeError: on purpose"):
        build.execute(source, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_running_leaves_nothing_of_the_runner_in_a_notebook(tmp_path):
    source = tmp_path / "99_clean.py"
    source.write_text('# %% tags=["parameters"]\nprofile = "sample"\n\n# %%\nprint(profile)\n')
    done = nbformat.read(build.execute(source, tmp_path / "out"), as_version=4)
    assert [dict(cell.metadata) for cell in done.cells] == [{"tags": ["parameters"]}, {}]
    assert set(done.metadata) == {"kernelspec", "language_info", "earthtie"}
    assert source.read_text().endswith("print(profile)\n")


# ---------------------------------------------------------------------------- structure


@notebook
def test_opens_with_a_title_and_a_card(source):
    first = cells(source)[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    for row in CARD:
        assert f"\n- **{row}** " in first.source, f"the card has no {row}"
    assert re.search(r"\*\*Time\*\* [^\n]*\d", first.source), "the card gives no measured time"


@notebook
def test_one_parameter_cell_sets_the_profile_and_nothing_else(source):
    (cell,) = cells(source, "code", "parameters")
    assert cell.source == f'profile = "{build.DEFAULT_PROFILE}"'


@notebook
def test_the_profile_changes_sizes_only(source):
    for cell in cells(source, "code"):
        for test in conditions(syntax(cell)):
            assert "profile" not in names(test), f"a condition on the profile:\n{cell.source}"
    used = [c.source for c in cells(source, "code") if "profile" in names(syntax(c))]
    assert len(used) == 2, "profile is set in one cell and read in one: et.profile(profile)"
    assert "et.profile(profile)" in used[1]


def test_the_check_of_conditions_finds_each_kind():
    for code in (
        "if profile == 'smoke': n = 1",
        "n = 1 if profile == 'smoke' else 2",
        "n = profile == 'smoke' and 1 or 2",
        "match profile:\n    case 'smoke': n = 1",
        "while profile: break",
        "n = [1 for _ in x if profile]",
        "n = (profile == 'smoke') * 5",
    ):
        found = conditions(ast.parse(code))
        assert any("profile" in names(test) for test in found), code


@notebook
def test_ends_with_a_check_that_asserts(source):
    code = cells(source, "code")
    assert "check" in code[-1].metadata.get("tags", [])
    assert any(isinstance(node, ast.Assert) for node in ast.walk(syntax(code[-1])))
    assert len(cells(source, "code", "check")) == 1


@notebook
def test_has_two_to_four_exercises_each_with_a_solution_that_runs(source):
    text = "\n".join(cell.source for cell in cells(source, "markdown"))
    exercises = re.findall(r"^\*\*Exercise (\d)", text, flags=re.MULTILINE)
    assert 2 <= len(exercises) <= 4
    solutions = cells(source, "code", "hide-cell")
    assert len(solutions) == len(exercises)
    for cell in solutions:
        assert cell.source.strip()
        assert cell.metadata.get("mystnb", {}).get("code_prompt_show") == "Show the solution"


@notebook
def test_is_short(source):
    everything = cells(source)
    words = sum(len(c.source.split()) for c in everything if c.cell_type == "markdown")
    assert len(everything) <= MAX_CELLS
    assert words <= MAX_WORDS
    for cell in cells(source, "code"):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert len(lines) <= MAX_LINES, f"a cell of {len(lines)} lines:\n{cell.source}"


# ---------------------------------------------------------------------------- stored outputs


@notebook
def test_stored_outputs_belong_to_the_source(source):
    assert build.problems(source) == []


@pytest.mark.parametrize(("added", "code"), [("# a remark\n", False), ("# %%\nx = 1\n", True)])
def test_a_changed_source_is_noticed(tmp_path, added, code):
    source = tmp_path / SOURCES[0].name
    source.write_text(SOURCES[0].read_text(encoding="utf-8") + "\n" + added, encoding="utf-8")
    pair = SOURCES[0].with_suffix(".ipynb").read_text(encoding="utf-8")
    source.with_suffix(".ipynb").write_text(pair, encoding="utf-8")
    found = build.problems(source)
    assert any("different cells" in problem for problem in found)
    assert any("older than its source" in problem for problem in found) == code


def test_new_prose_keeps_the_outputs_and_new_code_does_not(tmp_path):
    source = tmp_path / SOURCES[0].name
    text, pair = (
        SOURCES[0].with_suffix(end).read_text(encoding="utf-8") for end in (".py", ".ipynb")
    )
    source.with_suffix(".ipynb").write_text(pair, encoding="utf-8")
    source.write_text(text + "\n# a remark\n", encoding="utf-8")
    build.update_prose(source)
    assert build.problems(source) == []
    assert any(has_image(cell) for cell in stored(source).cells)
    source.write_text(text + "\n# %%\nx = 1\n", encoding="utf-8")
    with pytest.raises(build.NotebookError, match=r"the code of .* has changed"):
        build.update_prose(source)


def test_a_stored_picture_is_smaller_and_looks_the_same():
    rgb = np.full((120, 160, 3), 255, np.uint8)
    rgb[20:100, 20:140, 2] = 0
    rgb[20:100, 20:140, 0] = np.linspace(0, 247, 120)
    rgb[20:100, 20:140, 1] = np.linspace(0, 247, 80)[:, None]
    rgb[20:100, 20:140] += np.random.default_rng(0).integers(0, 8, (80, 120, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "png")
    small = build._smaller(base64.b64encode(file.getvalue()).decode())
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(small))).convert("RGB"), int)
    assert shown[0, 0].tolist() == [255, 255, 255], "the ground stays white"
    assert np.abs(shown - rgb).mean() < 5
    assert len(base64.b64decode(small)) < len(file.getvalue())
    assert build._smaller(small) == small, "reduced once only"


def test_the_globe_of_the_welcome_page_is_the_one_that_chapter_00_made():
    outputs = [o for cell in stored(SOURCES[0]).cells for o in cell.get("outputs", [])]
    (made,) = [o.data["image/gif"] for o in outputs if "image/gif" in o.get("data", {})]
    assert base64.b64decode(made) == (ROOT / "book" / "_static" / "globe.gif").read_bytes()


@notebook
def test_every_figure_has_a_number_a_caption_and_an_alternative_text(source):
    figures = [cell for cell in stored(source).cells if has_image(cell)]
    assert 1 <= len(figures) <= MAX_FIGURES
    text = "\n".join(cell.source for cell in cells(source, "markdown"))
    for cell in figures:
        about = cell.metadata.get("mystnb", {})
        where = f"figure of the cell\n{cell.source}"
        name = about.get("figure", {}).get("name", "")
        assert name.startswith(f"fig-{source.stem[:2]}-"), where
        assert 5 <= len(about.get("figure", {}).get("caption", "").split()) <= MAX_CAPTION, where
        assert len(about.get("image", {}).get("alt", "").split()) >= 5, where
        assert f"{{numref}}`{name}`" in text, f"the text does not mention {name}"
        assert pictures(cell) == [True], where


@notebook
def test_every_stored_figure_is_sharp_and_as_wide_as_the_page(source):
    for cell in stored(source).cells:
        for png in (
            o.data["image/png"] for o in cell.get("outputs", []) if "image/png" in o.get("data", {})
        ):
            width = Image.open(io.BytesIO(base64.b64decode(png))).width
            assert FIGURE_PIXELS[0] <= width <= FIGURE_PIXELS[1], cell.source


def test_no_text_of_a_figure_is_small():
    package = (ROOT / "earthtie_lite").rglob("*.py")
    for path in [*SOURCES, *package]:
        text = path.read_text(encoding="utf-8")
        sizes = re.findall(r"(?:font|label|title)_?size=([^,)]+)", text)
        assert all(float(points) >= MIN_POINTS for points in sizes), path


@notebook
def test_stored_outputs_are_clean(source):
    residue = r"Warning|Traceback|it/s\]|s/it\]|\d+%\|"
    for cell in stored(source).cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error", cell.source
            assert output.get("name") != "stderr", f"on stderr: {output.get('text')}"
            data = output.get("data", {})
            assert not any("widget" in kind or "javascript" in kind for kind in data), cell.source
            text = "".join(data.get("text/plain", "")) + "".join(data.get("text/html", ""))
            text += "".join(output.get("text", ""))
            assert not re.search(residue, text), text
            assert not re.search(r"(^|[\s'\"(])(/[a-z]\w*){2,}|[A-Z]:\\", text), f"a path: {text}"
            assert not re.search(r"<[\w.]+(?: \w+)* at 0x[0-9a-f]+>", text), f"a raw repr: {text}"
