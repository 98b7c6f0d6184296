"""The wheel alone, without a checkout, as in Colab."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
LARGEST = 40e6  # bytes


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(ROOT)], check=True)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """Return a folder with what the wheel installs, and nothing of the checkout."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def environment(site):
    """Return an environment in which the wheel's module comes first."""
    return {**os.environ, "PYTHONPATH": str(site), "PYTHONWARNINGS": "ignore"}


def test_the_wheel_holds_the_data_and_is_not_large(wheel):
    assert wheel.stat().st_size < LARGEST
    names = zipfile.ZipFile(wheel).namelist()
    for name in (
        "data/sample/satellite.tif",
        "data/pretrained/melt3/model.safetensors",
        "data/pretrained/manifest.json",
        "data/results/report/sums.parquet",
        "data/results/manifest.json",
        "py.typed",
        "__init__.pyi",
    ):
        assert f"earthtie_lite/{name}" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"earthtie_lite"}
    assert not any("experiments" in name for name in names)


def test_the_three_lines_of_the_readme_run_without_a_checkout(site, tmp_path):
    code = (
        "import earthtie_lite as et; print(et.__file__); "
        "print(et.load_pretrained('melt3').embed([[13.4, 52.5], [-60.0, -3.1]]).shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=environment(site),
    )
    file, shape = done.stdout.splitlines()
    assert file.startswith(str(site))
    assert shape == "(2, 256)"


def run_in_an_empty_folder(notebook, site, folder):
    """Run a notebook in profile smoke with the wheel alone."""
    made = folder / "out.ipynb"
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "-p", "profile", "smoke"]
    done = subprocess.run(
        [*command, str(notebook), str(made)],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(site),
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_notebook_that_reads_results_runs_in_an_empty_folder(site, tmp_path):
    (notebook,) = (path for path in NOTEBOOKS if path.stem.startswith("10"))
    run_in_an_empty_folder(notebook, site, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_runs_in_an_empty_folder(notebook, site, tmp_path):
    run_in_an_empty_folder(notebook, site, tmp_path)
