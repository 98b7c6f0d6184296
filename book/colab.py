"""Make the Colab edition of the notebooks, which needs neither this book's renderer nor a checkout.

Colab shows captions, roles and boxes of MyST as they are written. So captions become text below
their figures, the rest plain Markdown, and a first cell installs the module where it is missing:
from the repository's address once that is stamped, before from a wheel beside the notebooks.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell

ROOT = Path(__file__).resolve().parents[1]
COLAB = "https://colab.research.google.com/github"
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
BRANCH = "colab"  # holds the edition, under notebooks/, as the buttons of the book expect
INSTALL = """# Install the module with its data where it is missing, as in Colab.
import importlib.util

if importlib.util.find_spec("earthtie_lite") is None:
    %pip install --quiet {what}"""
PLAIN = (  # patterns of MyST, and Markdown instead
    (
        r"(?s):::\{dropdown\} ([^\n]*)\n(.*?)\n:::",
        r"<details><summary>\1</summary>\n\n\2\n</details>",
    ),
    (r"(?s):::\{admonition\} ([^\n]*)\n:class: \w+\n(.*?)\n:::", r"**\1**\n\n\2"),
    (r"\{(?:func|class)\}`~?([^`<]*)`", r"`\1`"),
    (r"\{term\}`([^`<]*?)(?: <[^`]*>)?`", r"\1"),
)


def edition(notebook: Any, name: str, what: str, address: str | None = None) -> Any:
    """Return a notebook in plain Markdown that installs ``what``; name: NN_name.ipynb."""
    links = [(r"\[([^]]*)\]\(\.\./[^)]*\)", r"\1")]
    if address:
        opened = f"{COLAB}/{address.removeprefix('https://github.com/')}/blob/{BRANCH}/notebooks"
        links = [(r"\]\(\.\./", f"]({address}/blob/main/"), (r"\]\((\d\d_)", rf"]({opened}/\1")]
    cells: list[Any] = []
    figures: dict[str, int] = {}
    for cell in notebook.cells:
        about = cell.metadata.get("mystnb", {}).get("figure")
        tags = cell.metadata.get("tags", [])
        if "parameters" in tags:
            cells.append(new_code_cell(INSTALL.format(what=what), id="install"))
        cells.append(cell)
        if {"hide-input", "hide-cell"} & set(tags):  # folded, in Jupyter and in Colab
            cell.metadata |= {"jupyter": {"source_hidden": True}, "cellView": "form"}
        if about:
            figures[about["name"]] = len(figures) + 1
            text = f"**Figure {len(figures)}.** {about['caption']}"
            cells.append(new_markdown_cell(text, id=about["name"]))
    for cell in cells:
        if cell.cell_type == "markdown":
            for pattern, plain in (*PLAIN, *links):
                cell.source = re.sub(pattern, plain, cell.source)
            for label, number in figures.items():
                cell.source = cell.source.replace(f"{{numref}}`{label}`", f"Figure {number}")
    if address:
        badge = f"[![Open in Colab]({BADGE})]({opened}/{name})"
        cells.insert(0, new_markdown_cell(badge, id="badge"))
    notebook.cells = cells
    return notebook


def main() -> None:
    """Write the edition, and the wheel that it installs while the repository has no address."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--notebooks", type=Path, default=ROOT / "notebooks")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "colab")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    settings = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    address = settings.get("repository", {}).get("url")
    what = f"git+{address}"
    if address is None:
        wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
        subprocess.run([*wheel, str(given.folder), str(ROOT)], check=True)
        what = max(given.folder.glob("earthtie_lite-*.whl")).name
    for path in sorted(given.notebooks.glob("[0-9][0-9]_*.ipynb")):
        made = edition(nbformat.read(path, as_version=4), path.name, what, address)
        nbformat.write(made, given.folder / path.name)


if __name__ == "__main__":
    main()
