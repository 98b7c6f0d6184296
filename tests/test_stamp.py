"""Stamping the repository's address."""

import importlib.util
import re
import shutil
from pathlib import Path

import jupytext
import pytest
import yaml

ROOT = Path(__file__).parents[1]
HERE, THERE = "https://github.com/someone/earthtie", "https://github.com/another/earth-tie"


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "book" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


stamping, building = load("stamp"), load("build")


@pytest.fixture
def copy(tmp_path):
    """Return a copy of what is stamped, as it is in the repository; two notebooks stand for all."""
    (tmp_path / "notebooks").mkdir()
    for path in [*(ROOT / "notebooks").glob("01_*"), *(ROOT / "notebooks").glob("05_*")]:
        shutil.copy(path, tmp_path / "notebooks")
    for name in ("_config.yml", "CITATION.cff"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def sources(root):
    return sorted((root / "notebooks").glob("[0-9]*.py"))


def test_until_it_is_stamped_nothing_links_to_colab():
    for path in [*sources(ROOT), ROOT / "_config.yml", ROOT / "CITATION.cff"]:
        assert "colab.research" not in path.read_text(encoding="utf-8")


def test_every_notebook_has_its_link_and_installs_the_module(copy):
    stamping.stamp(HERE + ".git", copy)
    for source in sources(copy):
        notebook = jupytext.read(source)
        title = notebook.cells[0].source
        link = f"/github/someone/earthtie/blob/main/notebooks/{source.stem}.ipynb"
        assert title.count("Open in Colab") == 1
        assert link in title
        assert title.startswith("# ")
        cells = [c for c in notebook.cells if "bootstrap" in c.metadata.get("tags", [])]
        assert len(cells) == 1
        assert f"git+{HERE}" in cells[0].source
        assert "parameters" in notebook.cells[notebook.cells.index(cells[0]) + 1].metadata["tags"]


def test_stored_outputs_stay_with_their_sources(copy):
    before = {s: building.problems(s) for s in sources(copy)}
    stamping.stamp(HERE, copy)
    for source in sources(copy):
        assert building.problems(source) == before[source]


def test_buttons_and_citation_have_the_address(copy):
    stamping.stamp(HERE, copy)
    config = yaml.safe_load((copy / "_config.yml").read_text(encoding="utf-8"))
    assert config["repository"] == {"url": HERE, "branch": "main"}
    assert config["launch_buttons"]["colab_url"] == "https://colab.research.google.com"
    assert config["html"]["use_repository_button"] is True
    citation = yaml.safe_load((copy / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["repository-code"] == HERE


def test_a_second_stamp_replaces_the_first(copy):
    stamping.stamp(THERE, copy)
    once = {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}
    stamping.stamp(HERE, copy)
    for path in once:
        assert "another/earth-tie" not in path.read_text(encoding="utf-8")
    stamping.stamp(THERE, copy)
    assert {p: p.read_bytes() for p in once} == once


@pytest.mark.parametrize("address", ["earthtie", "https://example.org/a/b", "https://github.com/a"])
def test_what_is_no_repository_is_refused(copy, address):
    before = (copy / "_config.yml").read_bytes()
    with pytest.raises(ValueError, match=re.escape("expected https://github.com/OWNER/NAME")):
        stamping.stamp(address, copy)
    assert (copy / "_config.yml").read_bytes() == before
