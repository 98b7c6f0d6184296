"""The Colab edition of the notebooks: plain Markdown, captions as text, a cell that installs."""

import re
from pathlib import Path

import nbformat
import pytest

from book import build, colab

ADDRESS = "https://github.com/someone/earthtie"
MYST = re.compile(r"\{[a-z:]+\}`|:::|\]\(\.\./")


def made(source, address=None):
    stored = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    return colab.edition(stored, f"{source.stem}.ipynb", "the.whl", address)


@pytest.mark.parametrize("source", build.sources(), ids=lambda path: path.stem)
def test_a_notebook_has_no_syntax_of_the_book_and_a_caption_below_each_figure(source):
    notebook = made(source)
    nbformat.validate(notebook)
    captions = 0
    for cell, after in zip(notebook.cells, [*notebook.cells[1:], None]):
        assert cell.cell_type == "code" or not MYST.search(cell.source), cell.source
        if about := cell.metadata.get("mystnb", {}).get("figure"):
            captions += 1
            assert after.source == f"**Figure {captions}.** {about['caption']}"
    assert captions
    text = "\n".join(cell.source for cell in notebook.cells)
    assert all(f"Figure {k}" in text.replace("**Figure", "") for k in range(1, captions + 1))


def test_the_first_code_installs_the_wheel_where_the_module_is_missing_and_nowhere_else():
    first = next(cell for cell in made(build.sources()[0]).cells if cell.cell_type == "code")
    asked = []
    for module, installs in (("earthtie_lite", 0), ("no_such_module", 1)):
        code = first.source.replace("earthtie_lite", module)
        exec(code.replace("%pip", "asked.append('") + "')", {"asked": asked})
        assert len(asked) == installs
    assert asked == [" install --quiet the.whl"]


def test_with_an_address_links_lead_there_and_a_badge_opens_the_notebook():
    notebook = made(build.sources()[3], ADDRESS)
    name = build.sources()[3].with_suffix(".ipynb").name
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    opened = "https://colab.research.google.com/github/someone/earthtie/blob/colab/notebooks/"
    assert notebook.cells[0].source.endswith(f"({opened}{name})")
    assert f"({opened}04_melt.ipynb)" in text
    assert f"({ADDRESS}/blob/main/data/cards/satellite.md)" in text


def test_boxes_folds_and_terms_become_plain():
    text = (
        ":::{admonition} About\n:class: tip\n- {term}`NT-Xent`\n:::\n"
        ":::{dropdown} Why?\nBecause of {term}`a loss <NT-Xent>` and {func}`~a.b`.\n:::"
    )
    cell = nbformat.v4.new_markdown_cell(text)
    found = colab.edition(nbformat.v4.new_notebook(cells=[cell]), "00_a.ipynb", "").cells[0].source
    assert found == (
        "**About**\n\n- NT-Xent\n"
        "<details><summary>Why?</summary>\n\nBecause of a loss and `a.b`.\n</details>"
    )


def test_solutions_and_folded_code_stay_folded():
    for cell in made(Path(build.sources()[3])).cells:
        if {"hide-input", "hide-cell"} & set(cell.metadata.get("tags", [])):
            assert cell.metadata["jupyter"]["source_hidden"]
            assert cell.metadata["cellView"] == "form"
