"""Write the repository's address into links to Colab, the citation and the book's buttons.

Run ``make stamp ADDRESS=https://github.com/you/earthtie``, and again after the repository moved.
Before the first stamp there are no such links.
"""

import argparse
import re
import sys
from pathlib import Path

import jupytext
import nbformat

sys.path.insert(0, str(Path(__file__).resolve().parent))
import build

ROOT = Path(__file__).resolve().parents[1]
COLAB = "https://colab.research.google.com"
ADDRESS = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+")
LINK = "# [Open in Colab]("
BOOTSTRAP = '# %% tags=["bootstrap", "remove-cell"]\n'
PARAMETERS = '# %% tags=["parameters"]\n'
INSTALL = """# Install the module with its data if it is missing, as in Colab.
import importlib.util

if importlib.util.find_spec("earthtie_lite") is None:
    get_ipython().run_line_magic("pip", "install --quiet git+{address}")

"""


def stamp(address: str, root: Path = ROOT, branch: str = "main") -> None:
    """Stamp all files of a repository; an earlier address is replaced.

    Raises
    ------
    ValueError
        If the address is not that of a repository on GitHub; Colab opens notebooks from there.
    """
    address = address.removesuffix("/").removesuffix(".git")
    if not ADDRESS.fullmatch(address):
        raise ValueError(f"expected https://github.com/OWNER/NAME, got {address!r}")
    for source in build.sources(root / "notebooks"):
        _notebook(source, address, branch)
    _replace(
        root / "_config.yml",
        r"(?m)^repository:\n(?:  .*\n)+\n",
        r"(?m)^launch_buttons:$",
        f"repository:\n  url: {address}\n  branch: {branch}\n\nlaunch_buttons:",
    )
    _replace(root / "_config.yml", None, r'colab_url: ".*"', f'colab_url: "{COLAB}"')
    _replace(
        root / "_config.yml", None, r"use_repository_button: \w+", "use_repository_button: true"
    )
    _replace(
        root / "CITATION.cff",
        r"(?m)^repository-code: .*\n",
        r"(?m)^license: MIT$",
        f'repository-code: "{address}"\nlicense: MIT',
    )


def _replace(path: Path, earlier: str | None, pattern: str, text: str) -> None:
    """Remove what an earlier stamp wrote, then replace the only match of a pattern in a file."""
    content = path.read_text(encoding="utf-8")
    if earlier is not None:
        content = re.sub(earlier, "", content)
    content, count = re.subn(pattern, lambda _: text, content)
    if count != 1:
        raise ValueError(f"{path} has {count} places for {text!r}, expected one")
    path.write_text(content, encoding="utf-8")


def _notebook(source: Path, address: str, branch: str) -> None:
    """Write a link below the title and a cell that installs the module; stored outputs stay."""
    text = source.read_text(encoding="utf-8")
    text = re.sub(rf"(?m)^#\n{re.escape(LINK)}.*\n", "", text)
    text = re.sub(rf"(?s){re.escape(BOOTSTRAP)}.*?(?={re.escape(PARAMETERS)})", "", text)
    install = BOOTSTRAP + INSTALL.format(address=address)
    where = address.removeprefix("https://github.com/")
    link = f"{COLAB}/github/{where}/blob/{branch}/notebooks/{source.stem}.ipynb"
    text = text.replace(PARAMETERS, install + PARAMETERS, 1)
    text = re.sub(
        r"(?m)^(# # .*)\n", lambda title: f"{title[1]}\n#\n{LINK}{link})\n", text, count=1
    )
    source.write_text(text, encoding="utf-8")
    target = source.with_suffix(".ipynb")
    if not target.is_file():
        return
    stored, fresh = nbformat.read(target, as_version=4), jupytext.read(source)
    outputs = {cell.source: cell for cell in stored.cells if cell.cell_type == "code"}
    for cell in fresh.cells:
        if cell.cell_type == "code" and cell.source in outputs:
            old = outputs[cell.source]
            cell["outputs"], cell["execution_count"] = old.outputs, old.execution_count
    made_by = stored.metadata["earthtie"] | {"source_sha256": build.source_hash(source)}
    nbformat.write(build._cleaned(fresh, made_by), target)


def main() -> None:
    """Stamp this repository."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address", help="https://github.com/OWNER/NAME")
    parser.add_argument("--branch", default="main", help="branch that Colab opens")
    asked = parser.parse_args()
    try:
        stamp(asked.address, branch=asked.branch)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
