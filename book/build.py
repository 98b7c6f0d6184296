"""Run the notebooks, store their outputs, build the book; the Makefile calls this script.

The ``.py`` of a pair is the source; the ``.ipynb`` beside it keeps the outputs of its code.
"""

import argparse
import base64
import datetime
import hashlib
import io
import multiprocessing
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import jupytext
import nbformat
import papermill
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
DEFAULT_PROFILE = "sample"  # set in the parameters cell of every notebook
PACKAGES = ("torch", "numpy", "scikit-learn", "sphericart")
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
KEPT = ("tags", "mystnb", "name")  # cell metadata that both files of a pair have


class NotebookError(Exception):
    """A notebook failed; the message names it, the cell and the error."""


def sources(folder: Path = NOTEBOOKS) -> list[Path]:
    """Return the notebooks' sources, in order."""
    return sorted(folder.glob("[0-9][0-9]_*.py"))


def execute(source: Path, folder: Path, profile: str = DEFAULT_PROFILE) -> Path:
    """Run a source in a fresh kernel; return the executed copy, folder/NN_name.ipynb.

    The kernel works in ``folder``, so files that a notebook writes stay out of the repository.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{source.stem}.ipynb"
    target.unlink(missing_ok=True)
    draft = folder / f".{source.stem}.ipynb"
    notebook = jupytext.read(source)
    notebook.metadata["kernelspec"] = dict(KERNEL)
    nbformat.write(_with_plain_ids(notebook), draft)
    started = time.perf_counter()
    try:
        papermill.execute_notebook(
            draft,
            draft,
            parameters={} if profile == DEFAULT_PROFILE else {"profile": profile},
            kernel_name="python3",
            progress_bar=False,
            cwd=folder,
            extra_arguments=["--log-level=50"],  # cells report their errors
        )
        done = nbformat.read(draft, as_version=4)
    except papermill.PapermillExecutionError as error:
        place = f"{source.name}, profile {profile!r}, cell {error.cell_index}"
        raise NotebookError(
            f"{place}: {error.ename}: {error.evalue}\n\n{error.source}\n\n"
            + "\n".join(error.traceback)
        ) from None
    finally:
        draft.unlink(missing_ok=True)
    seconds = time.perf_counter() - started
    nbformat.write(_cleaned(done, provenance(source, profile, seconds)), target)
    print(f"{source.stem}: {seconds:.0f} s", flush=True)
    return target


def provenance(source: Path, profile: str, seconds: float) -> dict[str, Any]:
    """Return how outputs were made: source, profile, date, duration, versions and hardware."""
    import torch

    import earthtie_lite

    own = {"python": platform.python_version(), "earthtie-lite": earthtie_lite.__version__}
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "source_sha256": source_hash(source),
        "profile": profile,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "seconds": round(seconds),
        "versions": own | {p: version(p) for p in PACKAGES},
        "hardware": {"cpu_count": os.cpu_count(), "gpu": gpu},
    }


def source_hash(source: Path) -> str:
    """Return the SHA-256 of a source's code; its text can change without a new run."""
    return hashlib.sha256("\n\n".join(_code(jupytext.read(source))).encode()).hexdigest()


def _code(notebook: Any) -> list[str]:
    """Return the code of a notebook, cell by cell."""
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def update_prose(source: Path) -> None:
    """Update text and captions of a stored notebook; the outputs of its code stay."""
    target = source.with_suffix(".ipynb")
    stored, fresh = nbformat.read(target, as_version=4), jupytext.read(source)
    if _code(stored) != _code(fresh):
        raise NotebookError(f"the code of {source.name} has changed: run make notebooks")
    outputs = iter([cell for cell in stored.cells if cell.cell_type == "code"])
    for cell in fresh.cells:
        if cell.cell_type == "code":
            old = next(outputs)
            cell["outputs"], cell["execution_count"] = old.outputs, old.execution_count
    nbformat.write(_cleaned(fresh, stored.metadata["earthtie"]), target)


def _with_plain_ids(notebook: Any) -> Any:
    """Number the cells: random ids would change at every run."""
    for i, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{i:02d}"
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def _cleaned(notebook: Any, made_by: dict[str, Any]) -> Any:
    """Remove what papermill and the kernel add to a notebook, and memory addresses."""
    for cell in notebook.cells:
        cell["metadata"] = {k: v for k, v in cell.metadata.items() if k in KEPT and v}
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/html" in data and " at 0x" in data.get("text/plain", ""):
                data["text/plain"] = "(a table)"
            if "image/png" in data:
                data["image/png"] = _smaller(data["image/png"])
    notebook["metadata"] = {
        "kernelspec": dict(KERNEL),
        "language_info": {"name": "python"},
        "earthtie": made_by,
    }
    return _with_plain_ids(nbformat.from_dict(notebook))


def _smaller(png: str) -> str:
    """Reduce a picture (base64) to 256 colours, once, which makes it three times smaller."""
    picture, written = Image.open(io.BytesIO(base64.b64decode(png))), io.BytesIO()
    if picture.mode == "P":
        return png
    picture.convert("RGB").quantize(256).save(written, "png", optimize=True)
    return base64.b64encode(written.getvalue()).decode()


def run(profile: str, folder: Path, only: list[str], jobs: int = 1) -> list[Path]:
    """Run all notebooks, or those whose names start as in ``only``, ``jobs`` at a time."""
    chosen = [s for s in sources() if not only or s.stem.startswith(tuple(only))]
    if not chosen:
        raise NotebookError(f"no notebook to run: there are {[s.stem for s in sources()]}")
    folder = folder.resolve()
    # Processes of their own, because papermill changes the working directory of its process.
    spawn = multiprocessing.get_context("spawn")
    share = str(max(1, (os.cpu_count() or 1) // jobs))  # of the cores
    kernel = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", share)}
    kernel["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    kernel["MATPLOTLIBRC"] = str(ROOT / "book" / "matplotlibrc")
    with mock.patch.dict(os.environ, kernel), ProcessPoolExecutor(jobs, spawn) as pool:
        longest_first = sorted(chosen, key=stored_seconds, reverse=True)
        running = {s: pool.submit(execute, s, folder, profile) for s in longest_first}
        try:
            return [running[source].result() for source in chosen]
        finally:
            pool.shutdown(cancel_futures=True)


def stored_seconds(source: Path) -> float:
    """Return the duration of the run whose outputs are stored, in seconds; 0 if there is none."""
    stored = source.with_suffix(".ipynb")
    if not stored.is_file():
        return 0.0
    return float(nbformat.read(stored, as_version=4).metadata["earthtie"]["seconds"])


def problems(source: Path) -> list[str]:
    """Return the faults of the stored notebook of a pair, one message each."""
    stored = source.with_suffix(".ipynb")
    if not stored.is_file():
        return [f"{stored.name} is missing: run make notebooks"]
    notebook = nbformat.read(stored, as_version=4)
    found = []
    if _cells(notebook) != _cells(jupytext.read(source)):
        found.append(f"{stored.name} and {source.name} have different cells: run make notebooks")
    made_by = notebook.metadata.get("earthtie", {})
    if made_by.get("source_sha256") != source_hash(source):
        found.append(f"the outputs of {stored.name} are older than its source: run make notebooks")
    if made_by.get("profile") != DEFAULT_PROFILE:
        found.append(f"{stored.name} was not stored in profile {DEFAULT_PROFILE!r}")
    return found


def _cells(notebook: Any) -> list[tuple[str, str, dict[str, Any]]]:
    """Return what both files of a pair have in common, cell by cell."""
    return [
        (c.cell_type, c.source, {k: c.metadata[k] for k in KEPT if c.metadata.get(k)})
        for c in notebook.cells
    ]


def render(notebooks: Path, folder: Path) -> Path:
    """Copy the book's sources and notebooks (with outputs) into a folder and build it there.

    Returns
    -------
    Path of ``index.html``.
    """
    shutil.rmtree(folder, ignore_errors=True)
    pages = folder / "notebooks"
    pages.mkdir(parents=True)
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "book", folder / "book", ignore=shutil.ignore_patterns("*.py", "__*"))
    shutil.copytree(ROOT / "data" / "cards", folder / "data" / "cards")
    pictures = folder / "book" / "figures"  # for the slides, by the names of the figures
    pictures.mkdir()
    for path in notebooks.glob("[0-9][0-9]_*.ipynb"):
        shutil.copy(path, pages)
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                if png := output.get("data", {}).get("image/png"):
                    name = cell.metadata["mystnb"]["figure"]["name"]
                    (pictures / f"{name}.png").write_bytes(base64.b64decode(png))
    # Every warning is an error, and so is every reference that does not resolve.
    program = str(Path(sys.executable).with_name("jupyter-book"))
    command = [program, "build", str(folder), "-W", "-n", "--keep-going"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    index = folder / "_build" / "html" / "index.html"
    if done.returncode or not index.is_file():
        text = re.sub(r"\x1b\[[0-9;]*m", "", f"{done.stdout[-1000:]}\n{done.stderr}")
        raise NotebookError(f"the book has faults:\n{text}")
    return index


def main(argv: list[str] | None = None) -> int:
    """Run one of the commands; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("run", help="run notebooks into a folder; no source changes")
    first.add_argument("-p", "--profile", default=DEFAULT_PROFILE)
    kept = commands.add_parser("store", help="run notebooks, keep outputs beside the sources")
    for command, jobs in ((first, 2), (kept, 1)):  # stored runs are timed, so one at a time
        command.add_argument("only", nargs="*", help="how names start, such as 03")
        command.add_argument("--folder", type=Path, default=ROOT / "build" / "notebooks")
        command.add_argument("--jobs", type=int, default=jobs, help="notebooks at a time")
    commands.add_parser("prose", help="update text and captions of stored notebooks")
    book = commands.add_parser("book", help="build the site and print the path of its first page")
    book.add_argument("--notebooks", type=Path, default=NOTEBOOKS, help="executed notebooks")
    book.add_argument("--folder", type=Path, default=ROOT / "build" / "book")
    given = parser.parse_args(argv)
    try:
        if given.command == "run":
            run(given.profile, given.folder, given.only, given.jobs)
        elif given.command == "store":
            for path in run(DEFAULT_PROFILE, given.folder, given.only, given.jobs):
                shutil.copy(path, NOTEBOOKS)
        elif given.command == "prose":
            for source in sources():
                update_prose(source)
        else:
            print(render(given.notebooks, given.folder))
    except NotebookError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
