"""The wheel alone, without a checkout, as in Colab."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest

from book import colab

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted(
    (ROOT / "notebooks").glob("[0-9]*.ipynb"), key=lambda path: ("08" not in path.stem, path)
)
LARGEST = 40e6  # bytes
HELD = ("data/sample/satellite.tif", "data/pretrained/melt3/model.safetensors", "__init__.pyi")
HELD += ("data/pretrained/manifest.json", "data/results/report/sums.parquet", "py.typed")


def python(*arguments, **how):
    how |= {"capture_output": True, "text": True}
    done = subprocess.run([sys.executable, *map(str, arguments)], **how)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    how = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir")
    python("-m", "pip", "wheel", *how, folder, ROOT)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def alone(wheel, tmp_path_factory):
    """Return an environment with what the wheel installs, and nothing of the checkout."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return {**os.environ, "PYTHONPATH": str(folder), "PYTHONWARNINGS": "ignore"}


def test_the_wheel_holds_the_data_and_is_not_large(wheel):
    assert wheel.stat().st_size < LARGEST
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"earthtie_lite/{name}" for name in HELD} <= set(names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"earthtie_lite"}
    assert not any("experiments" in name for name in names)


def test_the_three_lines_of_the_readme_run_without_a_checkout(alone, tmp_path):
    code = (
        "import earthtie_lite as et; print(et.__file__); "
        "print(et.load_pretrained('melt3').embed([[13.4, 52.5], [-60.0, -3.1]]).shape)"
    )
    file, shape = python("-c", code, cwd=tmp_path, env=alone).splitlines()
    assert file.startswith(alone["PYTHONPATH"])
    assert shape == "(2, 256)"


# The first reads the sample, labels and results, and draws maps; the others take minutes.
LONG = [pytest.param(path, marks=pytest.mark.long) for path in NOTEBOOKS[1:]]


def write_edition(notebook, wheel, folder):
    """Write the Colab edition of a notebook, which installs the wheel, into a folder."""
    made = colab.edition(nbformat.read(notebook, as_version=4), notebook.name, str(wheel))
    nbformat.write(made, folder / notebook.name)


@pytest.mark.parametrize("notebook", [NOTEBOOKS[0], *LONG], ids=lambda path: path.stem)
def test_the_colab_edition_runs_in_an_empty_folder(notebook, wheel, alone, tmp_path):
    write_edition(notebook, wheel, tmp_path)
    how = ("--no-progress-bar", "-p", "profile", "smoke", notebook.name, "out.ipynb")
    python("-m", "papermill", *how, cwd=tmp_path, env=alone)


def other_python(version):
    """Return the path of another Python, or None."""
    # A command of pyenv may exist and still find no Python.
    found = [*Path.home().glob(f".pyenv/versions/{version}.*/bin/python")]
    return next(iter(found), None) or shutil.which(f"python{version}")


@pytest.mark.long
@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_the_first_cell_installs_the_wheel_and_what_it_needs(version, wheel, tmp_path):
    if (path := other_python(version)) is None:
        pytest.skip(f"no Python {version} here")
    subprocess.run([path, "-m", "venv", tmp_path / "new"], check=True)
    new = tmp_path / "new" / "bin" / "python"
    subprocess.run([new, "-m", "pip", "install", "--quiet", "ipykernel", "papermill"], check=True)
    write_edition(NOTEBOOKS[1], wheel, tmp_path)
    how = (
        "--no-progress-bar",
        "-k",
        "python3",
        "-p",
        "profile",
        "smoke",
        NOTEBOOKS[1].name,
        "out.ipynb",
    )
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [new, "-m", "papermill", *how]
    done = subprocess.run(command, cwd=tmp_path, env=bare, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
