"""The command line: what each command writes, and how it fails."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import earthtie_lite as et
from earthtie_lite import modalities
from earthtie_lite.files import write_model
from earthtie_lite.interfaces.cli import main
from earthtie_lite.interfaces.training import SAMPLE

# Warnings as a user meets them, not as errors.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::PendingDeprecationWarning", "default::UserWarning"
)
PLACES = "name,lon,lat\nBerlin,13.4,52.5\nNA,17.1,-22.6\nManaus,-60.0,-3.1\nIquitos,-73.2,-3.7\n"
LONLAT = [[13.4, 52.5], [17.1, -22.6], [-60.0, -3.1], [-73.2, -3.7]]
IN_FRONT = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
RUN = "from earthtie_lite.interfaces.cli import main; main()"
# The files of the package without its __init__, which imports torch.
ALONE = (
    "import sys, types; package = types.ModuleType('earthtie_lite'); "
    "package.__path__ = ['earthtie_lite']; sys.modules['earthtie_lite'] = package; "
)
HELP = (
    "import sys\nfrom earthtie_lite.interfaces.cli import main\n"
    "main(sys.argv[1:], standalone_mode=False)\n"
    "print([m for m in ('torch', 'numpy', 'pandas', 'tqdm') if m in sys.modules])"
)


def run(*arguments):
    """Run a command in this process: exit status, output, errors."""
    done = CliRunner().invoke(main, [str(a) for a in arguments], prog_name="earthtie")
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=Path(et.__file__).parents[1],
    )


@pytest.fixture(scope="module")
def trained(three, make_encoder):
    """Return a small run whose modality "text" reads names, and whose "soil" reads numbers."""
    ngrams = et.CharacterNGrams(8)
    names = [
        f"Novo{i % 7}" if lon > 0 else f"San {i % 7}" for i, (lon, _) in enumerate(three[1].lonlat)
    ]
    text = et.Modality("text", three[1].lonlat, ngrams(names), ngrams)
    config = et.TrainConfig(epochs=2, batch_size=32, val_fraction=0.0)
    return et.fit([text, three[0]], config, make_encoder())


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    """Return a folder with the run, the model in the files of the Hub, and a table of places."""
    folder = tmp_path_factory.mktemp("cli")
    trained.save(folder / "run")
    trained.model.save_pretrained(folder / "hub")
    (folder / "places.csv").write_text(PLACES)
    return folder


@pytest.fixture
def here(folder, tmp_path, monkeypatch):
    """Work in an empty folder, beside a table of places and a model."""
    monkeypatch.chdir(tmp_path)
    for name in ("run", "hub", "places.csv"):
        Path(name).symlink_to(folder / name)
    return tmp_path


@pytest.mark.parametrize("name", main.commands)
def test_help_comes_with_an_example(name):
    status, said, _ = run(name, "--help")
    assert status == 0
    assert f"Example{'s' * (name == 'train')}:\n    earthtie {name}" in said


def test_help_brings_nothing_heavy_itself():
    for arguments in (["--help"], ["train", "--help"], ["--version"]):
        done = python(ALONE + HELP.replace("\n", "; "), *arguments)
        assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_help_starts_without_torch():
    done = python(HELP, "--help")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_script_is_installed_and_says_its_version():
    (script,) = metadata.entry_points(group="console_scripts", name="earthtie")
    assert script.load() is main
    assert run("--version")[1] == f"earthtie, version {et.__version__}\n"


def test_models_are_listed_with_a_line_on_each():
    _, said, _ = run("models")
    assert [line.split(maxsplit=1)[0] for line in said.splitlines()] == list(et.list_pretrained())
    for line in et.list_pretrained().values():
        assert line in said


def test_a_table_is_embedded(here, trained):
    status, said, errors = run("embed", "places.csv", "out.parquet", "--model", "run", "--rows", 3)
    assert (status, errors) == (0, "")  # no bar where there is no terminal
    assert said.startswith("4 rows in ")
    table = pd.read_parquet("out.parquet")
    assert table["name"].tolist() == ["Berlin", "NA", "Manaus", "Iquitos"]
    found = table.filter(regex=r"^e\d+$").to_numpy()
    np.testing.assert_allclose(found, trained.model.embed(LONLAT), atol=1e-5)
    assert run("embed", "places.csv", "z.csv", "--model", "run", "--prefix", "z")[0] == 0
    assert "z000" in pd.read_csv("z.csv")


def test_columns_of_other_names_are_named(here, trained):
    Path("other.csv").write_text(PLACES.replace("lon,lat", "east,north"))
    status, _, errors = run("embed", "other.csv", "out.csv", "--model", "run")
    assert status == 1
    assert "longitude" in errors
    named = ("--lon", "east", "--lat", "north")
    assert run("embed", "other.csv", "out.csv", "--model", "run", *named)[0] == 0
    assert len(pd.read_csv("out.csv")) == 4


def test_a_file_is_replaced_by_force_alone(here):
    Path("out.csv").write_text("mine")
    status, _, errors = run("embed", "places.csv", "out.csv", "--model", "run")
    assert status == 2
    assert "out.csv exists: add --force" in errors
    assert Path("out.csv").read_text() == "mine"
    assert run("embed", "places.csv", "out.csv", "--model", "run", "--force")[0] == 0
    assert Path("out.csv").read_text().startswith("name,lon,lat,e000")


def test_the_source_is_not_replaced_even_by_force(here):
    Path("mine.csv").write_text(PLACES)
    status, _, errors = run("embed", "mine.csv", "mine.csv", "--model", "run", "--force")
    assert status == 1
    assert "is the source" in errors
    assert Path("mine.csv").read_text() == PLACES


WRONG = {
    "missing file": (2, "'none.csv' does not exist", "embed none.csv out.csv"),
    "missing column": (
        1,
        "'east' is not one of",
        "embed places.csv out.csv --lon east --model run",
    ),
    "latitude": (
        1,
        r"latitude .*got 151.2 in line 3 of bad\.csv; is the order \(longitude, latitude\)\?$",
        "embed bad.csv out.csv --model run",
    ),
    "ragged": (1, r"ragged\.csv cannot be read", "embed ragged.csv out.csv --model run"),
    "ragged table": (1, r"ragged\.csv cannot be read", "nearest 0 0 ragged.csv --model run"),
    "no model": (
        2,
        "expected one of melt3, melt, .*folder",
        "embed places.csv out.csv --model melt4",
    ),
    "empty folder": (2, "unknown model 'empty'", "grid out.tif --model empty"),
    "damaged": (1, r"damaged/model\.safetensors is damaged", "grid out.tif --model damaged"),
    "class": (1, "other holds a model of unknown class, 'Other'", "grid out.tif --model other"),
    "suffix of embed": (2, r"ends in \.csv.*'out\.xls'", "embed places.csv out.xls"),
    "suffix of a source": (2, r"ends in \.csv.*'notes\.txt'", "embed notes.txt out.csv"),
    "suffix of a table": (2, r"ends in \.csv.*'notes\.txt'", "nearest 0 0 notes.txt"),
    "suffix of map": (2, r"one of \.png.*'out\.gif'", "map San out.gif"),
    "suffix of grid": (2, r"ends in \.tif.*'out\.png'", "grid out.png --model run"),
    "a folder": (2, "dir.csv is a folder", "embed places.csv dir.csv --force"),
    "no folder": (2, "there is no folder nodir", "embed places.csv nodir/out.csv"),
    "not writable": (1, r"cannot write into .*notes\.txt", "embed places.csv notes.txt/out.csv"),
    "missing": (
        1,
        r"missing \(NaN or empty\) in line 3 of lacks\.csv; .* --missing drop, or",
        "embed lacks.csv o.csv",
    ),
    "missing of a table": (
        1,
        "latitude is missing .* in line 3 of lacks.csv",
        "nearest 0 0 lacks.csv",
    ),
    "names": (1, "name it with --lon; the columns", "embed names.csv out.csv"),
    "latin": (1, "iconv -f LATIN1", "embed latin.csv out.csv"),
    "latin table": (1, "in UTF-8: .*iconv", "nearest 0 0 latin.csv"),
    "option": (2, "No such option.*--modle", "embed places.csv out.csv --modle run"),
    "option of map": (2, "No such option.*--modle", "map --modle=run out.png"),
    "no text": (2, "TEXT is empty", "map", "", "out.png", "--model", "run"),
    "places only": (1, "melt3 embeds places only", "map San out.png --model melt3"),
    "no names": (
        1,
        r"unknown modality 'text'.*\['satellite'\]",
        "map San out.png --model satellite",
    ),
    "numbers": (
        1,
        "cannot compare places with a text",
        "map San o.png --model run --modality soil",
    ),
    "region": (2, "west < east", "map San out.png --region 10 0 -10 5"),
    "at sea": (1, "no land", "map San out.png --model run --region -40 20 -30 30"),
    "too fine": (2, r"raise the spacing .*write a GeoTIFF", "map San out.png --spacing 0.01"),
    "place": (2, "-93.0 is not in the range", "nearest -60 -93 places.csv --model run"),
    "no number": (2, "'x' is not a valid float", "nearest x 0 places.csv"),
    "crs": (1, "expected a CRS", "grid out.tif --model run --crs EPSG:99"),
    "nothing": (2, "Usage: earthtie", ""),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_a_line(here, case):
    Path("bad.csv").write_text("lon,lat\n0,0\n30.0,151.2\n")
    Path("ragged.csv").write_text("lon,lat\n0,0\n1,2,3\n")
    Path("notes.txt").write_text("lon,lat\n0,0\n")
    Path("lacks.csv").write_text("lon,lat\n10,50\n30.0,\n")
    Path("names.csv").write_text("east,north\n10,50\n")
    Path("latin.csv").write_bytes("name,lon,lat\nZürich,8.5,47.4\n".encode("latin-1"))
    for name in ("empty", "dir.csv"):
        Path(name).mkdir()
    write_model(Path("other"), {"class": "Other"}, {})
    shutil.copytree("other", "damaged")
    Path("damaged/model.safetensors").write_bytes(b"{")
    before = sorted(here.iterdir())
    expected, message, command, *more = WRONG[case]
    status, said, errors = run(*command.split(), *more)
    assert (status, said) == (expected, "")
    assert re.search(message, errors), errors
    assert "Traceback" not in errors
    assert sorted(here.iterdir()) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_without_permission_is_named(here):
    Path("locked").mkdir(mode=0o500)
    status, _, errors = run("embed", "places.csv", "locked/out.csv", "--model", "run")
    assert status == 1
    assert "cannot write into locked: Permission denied" in errors


def test_models_are_found_by_name_as_run_and_as_files_of_the_hub(here):
    tables = {}
    for name in ("run", "hub", "melt"):
        assert run("embed", "places.csv", f"{name}.parquet", "--model", name)[0] == 0
        table = pd.read_parquet(f"{name}.parquet")
        tables[name] = table.filter(regex=r"^e\d+$").to_numpy()
    np.testing.assert_array_equal(tables["run"], tables["hub"])
    np.testing.assert_allclose(tables["melt"], et.load_pretrained("melt").embed(LONLAT), atol=1e-5)


def test_a_text_with_a_dash_becomes_a_map(here):
    status, said, errors = run("map", "-stan", "out.png", "--model", "run", "--spacing", 10)
    assert (status, errors) == (0, "")
    assert said == "similarity of places to '-stan': out.png\n"
    assert Path("out.png").read_bytes().startswith(b"\x89PNG")


def test_a_text_becomes_a_raster(here, trained):
    import rasterio

    region = ("--region", -20, -40, 60, 40)
    assert run("map", "Novo", "out.tif", "--model", "run", "--spacing", 5, *region)[0] == 0
    with rasterio.open("out.tif") as raster:
        assert raster.bounds == (-20, -40, 60, 40)
        (inland,), (sea,) = (list(raster.sample([place])) for place in ((22.5, 2.5), (-17.5, -2.5)))
    tied = trained.model.embed_modality("text", ["Novo"])
    assert inland == pytest.approx(trained.model.similarity([[22.5, 2.5]], tied)[0], abs=1e-5)
    assert np.isnan(sea)


def test_places_alike_are_printed_in_order(here):
    status, said, errors = run("nearest", -60, -3.1, "places.csv", "--model", "run", "--count", 3)
    assert (status, errors) == (0, "")
    lines = [line.split() for line in said.splitlines()]
    assert lines[0] == ["name", "lon", "lat", "similarity", "km"]
    assert lines[1] == ["Manaus", "-60.0", "-3.1", "1.000", "0.0"]
    similarity = [float(line[3]) for line in lines[1:]]
    assert len(similarity) == 3
    assert similarity == sorted(similarity, reverse=True)


def test_a_grid_is_embedded(here, trained):
    import rasterio

    bounds = ("--bounds", -10, -5, -4, -1)
    status, said, errors = run("grid", "out.tif", "--model", "run", *bounds, "--resolution", 2)
    assert (status, errors) == (0, "")
    announced, done = said.splitlines()
    assert announced == "3 x 2 pixels, 16 bands: 0.4 kB before compression"
    assert done.endswith(": out.tif")
    with rasterio.open("out.tif") as raster:
        assert raster.bounds == (-10, -5, -4, -1)
        np.testing.assert_allclose(
            raster.read()[:, 0, 0], trained.model.embed([[-9.0, -2.0]])[0], atol=1e-5
        )
    assert run("grid", "out.tif", "--model", "run", *bounds)[0] == 2


def test_some_bands_replace_a_grid_by_force(here):
    import rasterio

    asked = ("grid", "out.tif", "--model", "run", "--bounds", 10, 45, 12, 46)
    assert run(*asked)[0] == 0
    status, said, _ = run(*asked, "--band", 3, "--band", 0, "--force")
    assert status == 0
    assert "2 x 1 pixels, 2 bands" in said
    with rasterio.open("out.tif") as raster:
        assert raster.descriptions == ("e003", "e000")
        assert raster.tags()["EARTHTIE_MODEL"] == "run"


def test_a_grid_names_a_known_model(here):
    import rasterio

    bounds = ("--bounds", 10, 45, 12, 46)
    assert run("grid", "out.tif", "--model", "melt", *bounds)[0] == 0
    with rasterio.open("out.tif") as raster:
        assert raster.tags()["EARTHTIE_MODEL"] == "melt"


def test_a_grid_that_is_stopped_goes_on(here, monkeypatch):
    embed, calls = et.EarthTie.embed, []

    def interrupted(model, lonlat):
        calls.append(len(lonlat))
        if len(calls) == 4:  # after one place, four that tell models apart, and a tile
            raise KeyboardInterrupt
        return embed(model, lonlat)

    monkeypatch.setattr(et.EarthTie, "embed", interrupted)
    command = (
        "grid",
        "out.tif",
        "--model",
        "run",
        "--resolution",
        0.5,
        "--bounds",
        -180,
        0,
        180,
        1,
    )
    status, _, errors = run(*command)
    assert status == 130
    assert errors.strip().startswith(
        "Interrupted. The same command goes on after the last whole ti"
    )
    assert ".out.tif.part holds what is done" in errors
    assert not Path("out.tif").exists()
    assert run(*command)[0] == 0
    assert calls[4:6] == [1, 4]
    assert sum(calls[6:]) == (720 - 512) * 2  # the other tile


@pytest.fixture
def soil(here, three):
    """Write a table of places with numbers and texts."""
    table = pd.DataFrame(three[0].lonlat, columns=["Longitude", "Latitude"])
    table["ph"], table["clay"] = three[0].features[:, 0], three[0].features[:, 1]
    table["town"] = [f"town {i % 11}" for i in range(len(table))]
    table.to_csv("soil.csv", index=False)
    table.assign(ph=table["ph"].where(table.index != 3)).to_csv("lacks.csv", index=False)
    comma = table["Latitude"].astype(str).where(table.index != 1, "5,1")
    table.assign(Latitude=comma).to_csv("comma.csv", index=False)
    return ("--table", "soil.csv", "--name", "soil")


SMALL = ("--modality", "text", "--pairs", 300, "--batch-size", 32, "--epochs", 1)


def test_the_sample_is_the_one_of_the_package():
    assert SAMPLE == modalities.NAMES


def test_a_table_is_tied_with_the_sample_and_the_run_goes_on(here, soil):
    status, said, errors = run("train", "mine", *SMALL, *soil, "--features", "ph, clay")
    assert (status, errors) == (0, "")
    done = et.load("mine")
    assert done.model.in_dims == {"text": 256, "soil": 2}
    assert done.config == et.TrainConfig("melt", 1, 32, 1e-3)
    loss = done.history["loss"]
    assert f"loss: {loss.iloc[0]:.3f} in the first step, {loss.iloc[-1]:.3f} in the last" in said
    assert f"held out: {done.history['val_loss'].iloc[-1]:.3f} after the first epoch" in said
    assert "et.load_pretrained('mine')" in said
    again = (*SMALL, *soil, "--features", "ph,clay", "--epochs", 2)
    status, _, errors = run("train", "mine", *again)
    assert status == 2
    assert "mine holds a run: add --resume" in errors
    assert run("train", "mine", *again, "--resume")[0] == 0
    assert et.load("mine").history["epoch"].max() == 1
    pd.testing.assert_series_equal(et.load("mine").history["loss"][: len(loss)], loss)


def test_a_column_of_text_is_tied_by_salt(here, soil):
    settings = ("--method", "salt", "--seed", 3, "--learning-rate", 0.01)
    assert run("train", "mine", *SMALL, *soil, "--text", "town", *settings)[0] == 0
    done = et.load("mine")
    assert done.config == et.TrainConfig("salt", 1, 32, 0.01, seed=3)
    assert (
        run("map", "town", "out.tif", "--model", "mine", "--modality", "soil", "--spacing", 15)[0]
        == 0
    )


def test_classes_and_a_column_with_a_comma_are_tied(here, soil):
    table = pd.read_csv("soil.csv")
    table["sand, %"], table["code"] = 100 - table["clay"], ["007", "NA", "8"] * 100
    table.to_csv("soil.csv", index=False)
    columns = ("--features", "sand, %", "--features", "ph,clay", "--categories", "code")
    assert run("train", "mine", *SMALL, *soil, *columns)[0] == 0
    model = et.load_pretrained("mine")
    assert model.in_dims["soil"] == 6
    assert model.featurisers["soil"].classes == (("code", ("007", "8", "NA")),)


def test_a_feature_may_be_called_like_a_coordinate(here, soil):
    table = pd.read_csv("soil.csv").rename(columns={"Longitude": "east", "Latitude": "north"})
    table.assign(lat=1000 * table["ph"]).to_csv("soil.csv", index=False)
    asked = ("--lon", "east", "--lat", "north", "--features", "lat", "--duplicates", "keep")
    assert run("train", "mine", *SMALL, *soil, *asked)[0] == 0
    head = et.load_pretrained("mine").head("soil")
    assert head.std.item() == pytest.approx(1000 * table["ph"].std(), rel=0.2)


def test_images_are_tied_and_rows_that_lack_one_left_out(here, soil):
    from PIL import Image

    Path("there").mkdir()
    table, rng = pd.read_csv("soil.csv"), np.random.default_rng(0)
    for row in range(len(table)):
        Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(f"there/{row}.png")
    table["file"] = [f"{row}.png" if row != 5 else "" for row in range(len(table))]
    table.to_csv("there/soil.csv", index=False)
    asked = ("--table", "there/soil.csv", "--name", "soil", "--images", "file")
    status, _, errors = run("train", "mine", *SMALL, *asked)
    assert status == 1
    assert "the first is line 7 of soil.csv, in column 'file'" in errors
    assert not Path("mine").exists()
    status, _, errors = run("train", "mine", *SMALL, *asked, "--missing", "drop")
    assert (status, errors) == (0, "Warning: left out 1 of 300 rows, which lack a value\n")
    assert isinstance(et.load_pretrained("mine").featurisers["soil"], et.RandomConvolutions)


def test_a_batch_fits_few_pairs(here):
    few = ("--modality", "text", "--pairs", 300, "--epochs", 1)
    status, said, errors = run("train", "mine", *few)
    assert (status, errors) == (0, "")
    done = et.load("mine")
    assert 2 < done.config.batch_size < 300
    assert len(done.history) == 4
    assert f"a batch has {done.config.batch_size} pairs, 4 batches are an epoch" in said
    assert run("train", "mine", *few, "--resume")[0] == 0  # the same size again
    assert run("train", "both", *few, "--modality", "lights")[0] == 0
    assert et.load("both").config.batch_size > 1.8 * done.config.batch_size
    assert run("train", "whole", *few, "--val-fraction", 0)[0] == 0
    assert et.load("whole").config.batch_size == 75


def test_fewer_epochs_than_there_are_is_no_success(here):
    assert run("train", "mine", *SMALL, "--epochs", 2)[0] == 0
    status, _, errors = run("train", "mine", *SMALL, "--epochs", 1, "--resume")
    assert status == 1
    assert "has 2 epochs already, not --epochs 1" in errors


WRONG_TRAINING = {
    "no name": (2, "--table needs a --name", "--table soil.csv --text town"),
    "no table": (2, "columns need a --table", "--text town"),
    "no columns": (2, "say what is in the table", "--table soil.csv --name soil"),
    "both": (1, "give either features", "--table soil.csv --name soil --text town --features ph"),
    "lacking": (
        1,
        r"1 of 300 rows lack a value, the first is line 5 of lacks\.csv.*--missing drop",
        "--table lacks.csv --name soil --features ph",
    ),
    "decimal": (
        1,
        r"latitude must be a number .* '5,1' in line 3 of comma\.csv; decimal commas are not",
        "--table comma.csv --name soil --features ph",
    ),
    "taken": (2, "sample has 'text' already", "--table soil.csv --name text --text town"),
    "no word": (1, "must be a word", "--table soil.csv --name so-il --text town"),
    "absent": (1, r"\['sand'\] not found", "--table soil.csv --name soil --features ph,sand"),
    "no number": (
        1,
        r"'town' must hold finite numbers, got 'town 0' in line 2 .* --text or --categories",
        "--table soil.csv --name soil --features town",
    ),
    "batch": (1, "'text' has|whole batch|batch", "--batch-size 4096"),
    "resume": (2, "out holds no run to resume", "--resume"),
    "pairs": (2, "'1' is not in the range|1 is not in the range", "--pairs 1"),
    "rate": (2, "not in the range", "--learning-rate 0"),
    "method": (2, "'clip' is not one of", "--method clip"),
}


@pytest.mark.parametrize("case", WRONG_TRAINING)
def test_wrong_trainings_are_refused_before_anything_is_saved(here, soil, case):
    expected, message, options = WRONG_TRAINING[case]
    status, said, errors = run("train", "out", *SMALL, *options.split())
    assert (status, said) == (expected, "")
    assert re.search(message, errors), errors
    assert not Path("out").exists()


def test_a_folder_of_other_files_is_left_alone(here):
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    status, _, errors = run("train", "mine", *SMALL)
    assert status == 2
    assert "mine is not empty and holds no run" in errors
    assert [path.name for path in Path("mine").iterdir()] == ["notes.txt"]


def test_doubts_about_a_table_are_warnings(here, soil):
    table = pd.read_csv("soil.csv")
    pd.concat([table, table[:2]]).to_csv("soil.csv", index=False)
    _, _, errors = run("train", "out", *SMALL, *soil, "--features", "ph", "--batch-size", 4096)
    assert errors.startswith("Warning: 2 of 302 places are duplicated")
    assert errors.count("Warning") == 1


def test_ctrl_c_says_how_to_resume(here):
    command = [sys.executable, "-c", IN_FRONT + RUN, "train", "mine", *map(str, SMALL[:-1]), "9999"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as started:
        try:
            while not Path("mine/model.safetensors").exists():  # an epoch is saved
                assert started.poll() is None
                time.sleep(0.05)
            started.send_signal(signal.SIGINT)
            _, errors = started.communicate()
        finally:
            started.kill()
    assert started.returncode == 130
    assert errors.strip() == (
        "Interrupted. The same command with --resume goes on after the last whole epoch."
    )
    epochs = et.load("mine").history["epoch"].max() + 1
    assert run("train", "mine", *SMALL[:-1], epochs + 1, "--resume")[0] == 0
    assert et.load("mine").history["epoch"].max() == epochs


def test_ctrl_c_before_an_epoch_says_that_nothing_is_saved(here, monkeypatch):
    from earthtie_lite import train

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setitem(train.METHODS, "melt", stop)
    status, _, errors = run("train", "mine", *SMALL)
    assert status == 130
    assert errors.strip() == "Interrupted. No epoch was complete, so nothing is saved."
