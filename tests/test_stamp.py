"""Stamping the repository's address."""

import shutil
from pathlib import Path

import jupytext
import pytest
import yaml

from book import build, stamp

ROOT = Path(__file__).parents[1]
HERE, THERE = "https://github.com/someone/earthtie", "https://github.com/another/earth-tie"
SETTINGS = ("_config.yml", "CITATION.cff")


@pytest.fixture
def copy(tmp_path):
    """Return a copy of what is stamped, as it is in the repository; two notebooks stand for all."""
    (tmp_path / "notebooks").mkdir()
    pairs = [path for n in ("01", "05") for path in (ROOT / "notebooks").glob(f"{n}_*")]
    for path in [*pairs, *(ROOT / name for name in SETTINGS)]:
        shutil.copy(path, tmp_path / path.relative_to(ROOT))
    return tmp_path


def test_until_it_is_stamped_nothing_links_to_colab():
    for path in [*(ROOT / "notebooks").glob("[0-9]*.py"), *(ROOT / name for name in SETTINGS)]:
        assert "colab.research" not in path.read_text(encoding="utf-8")


def test_every_notebook_has_its_link_installs_the_module_and_keeps_its_outputs(copy):
    sources = sorted((copy / "notebooks").glob("[0-9]*.py"))
    before = [build.problems(source) for source in sources]
    stamp.stamp(HERE + ".git", copy)
    assert [build.problems(source) for source in sources] == before
    for source in sources:
        title, *cells = jupytext.read(source).cells
        link = f"/github/someone/earthtie/blob/main/notebooks/{source.stem}.ipynb"
        assert title.source.count("Open in Colab") == 1
        assert link in title.source
        assert title.source.startswith("# ")
        tags = [cell.metadata.get("tags", []) for cell in cells]
        (row,) = (i for i, found in enumerate(tags) if "bootstrap" in found)
        assert f"git+{HERE}" in cells[row].source
        assert "parameters" in tags[row + 1]


def test_buttons_and_citation_have_the_address(copy):
    stamp.stamp(HERE, copy)
    config, citation = (yaml.safe_load((copy / name).read_text("utf-8")) for name in SETTINGS)
    assert config["repository"] == {"url": HERE, "branch": "main"}
    assert config["launch_buttons"]["colab_url"] == "https://colab.research.google.com"
    assert config["html"]["use_repository_button"] is True
    assert citation["repository-code"] == HERE


def test_a_second_stamp_replaces_the_first(copy):
    stamp.stamp(THERE, copy)
    once = {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}
    stamp.stamp(HERE, copy)
    assert not any(b"another/earth-tie" in path.read_bytes() for path in once)
    stamp.stamp(THERE, copy)
    assert {p: p.read_bytes() for p in once} == once


@pytest.mark.parametrize("address", ["earthtie", "https://example.org/a/b", "https://github.com/a"])
def test_other_addresses_are_refused(copy, address):
    before = (copy / "_config.yml").read_bytes()
    with pytest.raises(ValueError, match="OWNER/NAME"):
        stamp.stamp(address, copy)
    assert (copy / "_config.yml").read_bytes() == before
