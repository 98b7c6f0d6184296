"""Stamping the repository's address."""

import shutil
from pathlib import Path

import pytest
import yaml

from book import stamp

ROOT = Path(__file__).parents[1]
HERE, THERE = "https://github.com/someone/earthtie", "https://github.com/another/earth-tie"
SETTINGS = ("_config.yml", "CITATION.cff")


@pytest.fixture
def copy(tmp_path):
    """Return a copy of what is stamped, as it is in the repository."""
    for name in SETTINGS:
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_until_it_is_stamped_nothing_links_to_colab():
    for path in [*(ROOT / "notebooks").glob("[0-9]*.py"), *(ROOT / name for name in SETTINGS)]:
        assert "colab.research" not in path.read_text(encoding="utf-8")


def test_buttons_and_citation_have_the_address(copy):
    stamp.stamp(HERE, copy)
    config, citation = (yaml.safe_load((copy / name).read_text("utf-8")) for name in SETTINGS)
    assert config["repository"] == {"url": HERE, "branch": "colab"}
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
