"""The command line: what each command writes, and how it fails."""

import re
import shlex
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
from click.testing import CliRunner
from PIL import Image

import earthtie_lite as et
from earthtie_lite import train
from earthtie_lite.files import write_model
from earthtie_lite.interfaces.cli import main

# Warnings as a user meets them, not as errors.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::PendingDeprecationWarning", "default::UserWarning"
)
PLACES = "name,lon,lat\nBerlin,13.4,52.5\nNA,17.1,-22.6\nManaus,-60.0,-3.1\nIquitos,-73.2,-3.7\n"
LONLAT = [[13.4, 52.5], [17.1, -22.6], [-60.0, -3.1], [-73.2, -3.7]]
SMALL = "--modality text --pairs 300 --batch-size 32 --epochs 1"
HELP = """
import sys
from earthtie_lite.interfaces.cli import main
for asked in ("--help", "train --help", "--version"):
    main(asked.split(), standalone_mode=False)
print([m for m in ("torch", "numpy", "pandas", "tqdm") if m in sys.modules])
"""


def run(command):
    """Run a command in this process: exit status, output, errors."""
    done = CliRunner().invoke(main, shlex.split(command), prog_name="earthtie")
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def fail(command, status, words):
    """Run a command that must fail, in one line of errors that has these words."""
    found, said, errors = run(command)
    assert (found, said) == (status, "")
    assert re.search(words, errors), errors
    assert "Traceback" not in errors


def embedded(path, prefix="e"):
    read = pd.read_parquet if Path(path).suffix == ".parquet" else pd.read_csv
    return read(path).filter(regex=rf"^{prefix}\d+$").to_numpy()


@pytest.fixture(scope="module")
def trained(three, make_encoder):
    """Return a small run whose modality "text" reads names, and whose "soil" reads numbers."""
    ngrams, lonlat = et.CharacterNGrams(8), three[1].lonlat
    names = [f"Novo{i % 7}" if lon > 0 else f"San {i % 7}" for i, (lon, _) in enumerate(lonlat)]
    text = et.Modality("text", lonlat, ngrams(names), ngrams)
    config = et.TrainConfig(epochs=2, batch_size=32, val_fraction=0.0)
    return et.fit([text, three[0]], config, make_encoder())


@pytest.fixture
def here(trained, tmp_path, monkeypatch):
    """Work in a folder with a run and a table of places."""
    monkeypatch.chdir(tmp_path)
    trained.save("run")
    Path("places.csv").write_text(PLACES)
    return tmp_path


@pytest.fixture
def soil(here, three):
    """Write tables of places with numbers and texts; return one."""
    table = pd.DataFrame(three[0].lonlat, columns=["Longitude", "Latitude"])
    table["ph"], table["clay"] = three[0].features[:, 0], three[0].features[:, 1]
    table["town"] = [f"town {i % 11}" for i in range(len(table))]
    table.to_csv("soil.csv", index=False)
    table.assign(ph=table["ph"].where(table.index != 3)).to_csv("lacking.csv", index=False)
    comma = table["Latitude"].astype(str).where(table.index != 1, "5,1")
    table.assign(Latitude=comma).to_csv("comma.csv", index=False)
    return table


@pytest.mark.parametrize("name", main.commands)
def test_help_comes_with_an_example(name):
    status, said, _ = run(f"{name} --help")
    assert status == 0
    assert re.search(rf"Examples?:\n    earthtie {name}", said)


def test_help_brings_nothing_heavy():
    root = Path(et.__file__).parents[1]
    command = [sys.executable, "-c", HELP]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_script_is_installed_says_its_version_and_lists_the_models():
    (script,) = metadata.entry_points(group="console_scripts", name="earthtie")
    assert script.load() is main
    assert run("--version")[1] == f"earthtie, version {et.__version__}\n"
    lines = [line.split(maxsplit=1) for line in run("models")[1].splitlines()]
    assert lines == [list(item) for item in et.list_pretrained().items()]


def test_a_table_is_embedded(here, trained):
    status, said, errors = run("embed places.csv out.parquet --model run --rows 3")
    assert (status, errors) == (0, "")  # no bar where there is no terminal
    assert said.startswith("4 rows in ")
    names = pd.read_parquet("out.parquet")["name"].tolist()
    assert names == ["Berlin", "NA", "Manaus", "Iquitos"]
    np.testing.assert_allclose(embedded("out.parquet"), trained.model.embed(LONLAT), atol=1e-5)
    Path("other.csv").write_text(PLACES.replace("lon,lat", "east,north"))
    named = "--lon east --lat north --prefix z"
    assert run(f"embed other.csv out.csv --model run {named}")[0] == 0
    np.testing.assert_allclose(embedded("out.csv", "z"), embedded("out.parquet"), atol=1e-5)


def test_a_file_is_replaced_by_force_alone_and_the_source_never(here):
    Path("out.csv").write_text(PLACES)
    fail("embed places.csv out.csv --model run", 2, "out.csv exists: .*--force")
    fail("embed out.csv out.csv --model run --force", 1, "is the source")
    assert Path("out.csv").read_text() == PLACES
    assert run("embed places.csv out.csv --model run --force")[0] == 0
    assert Path("out.csv").read_text().startswith("name,lon,lat,e000")


# Exit status (1: data, 2: use), decisive words of the one line, command; --model run where none is.
WRONG = r"""
2 : 'none.csv' does not exist : embed none.csv out.csv
1 : 'east' is not one of : embed places.csv out.csv --lon east
1 : bad\.csv: latitude .*151.2 in line 3; is the order : embed bad.csv out.csv
1 : ragged\.csv: line 3 has 3 cells, expected 2 : embed ragged.csv out.csv
2 : expected one of earth, .*folder : embed places.csv out.csv --model melt4
2 : unknown model 'empty' : grid out.tif --model empty
1 : damaged/model\.safetensors is damaged : grid out.tif --model damaged
1 : other holds a model of unknown class, 'Other' : grid out.tif --model other
2 : ends in \.csv.*'out\.xls' : embed places.csv out.xls
2 : ends in one of \.csv.*'notes\.docx' : embed notes.docx out.csv
2 : one of \.png.*'out\.gif' : map San out.gif
2 : ends in \.tif.*'out\.png' : grid out.png
2 : dir.csv is a folder : embed places.csv dir.csv --force
2 : there is no folder nodir : embed places.csv nodir/out.csv
1 : cannot write into .*notes\.docx : embed places.csv notes.docx/out.csv
1 : lacks\.csv: .*missing .* in line 3; .*drop\) : embed lacks.csv o.csv
1 : lacks\.csv: latitude is missing .* in row 1 \(line 3\); .*drop\) : nearest 0 0 lacks.csv
1 : empty: the folder has no Parquet files : embed empty o.csv
1 : bad\.json cannot be read as a vector format : embed bad.json o.csv
1 : Mars .* cannot be turned into degrees : embed mars.parquet o.parquet
1 : name it .*lon: NAME.*; the columns : embed names.csv out.csv
2 : No such option.*--modle : embed places.csv out.csv --modle run
2 : No such option.*--modle : map --modle=run out.png
1 : melt3 embeds places only : map San out.png --model melt3
1 : unknown modality 'text'.*\['satellite'\] : map San out.png --model satellite
1 : cannot compare places with a text : map San o.png --modality soil
2 : left < right : map San out.png --region 10 0 -10 5
2 : raise the spacing .*write a GeoTIFF : map San out.png --spacing 0.01
2 : -93.0 is not in the range : nearest -60 -93 places.csv
2 : is empty : map '' out.png
1 : expected a CRS : grid out.tif --crs EPSG:99
2 : --table needs a --name : train --table soil.csv --text town
2 : columns need a --table : train --text town
2 : say what is in the table : train --table soil.csv --name soil
1 : give either features : train --table soil.csv --name soil --text town --features ph
1 : lacking\.csv: 1 of .* row 3 \(line 5\) : train --table lacking.csv --name soil --features ph
1 : '5,1' in row 1 \(line 3\); decimal : train --table comma.csv --name soil --features ph
2 : sample has 'text' already : train --table soil.csv --name text --text town
1 : must be a word : train --table soil.csv --name so-il --text town
1 : \['sand'\] not found : train --table soil.csv --name soil --features ph,sand
1 : 'town' .* 'town 0' in row 0 \(line 2\) : train --table soil.csv --name soil --features town
1 : batch : train --batch-size 4096
2 : out holds no run to resume : train --resume
2 : 1 is not in the range : train --pairs 1
"""
FILES = {
    "bad.csv": "lon,lat\n0,0\n30.0,151.2\n",
    "ragged.csv": "lon,lat\n0,0\n1,2,3\n",
    "lacks.csv": "lon,lat\n10,50\n30.0,\n",
    "names.csv": "east,north\n10,50\n",
    "notes.docx": "lon,lat\n0,0\n",
    "bad.json": "{",
}


@pytest.mark.parametrize("case", WRONG.strip().splitlines())
def test_a_fault_is_named_in_a_line_and_nothing_is_written(here, soil, case):
    for name, text in FILES.items():
        Path(name).write_text(text)
    mars = gpd.GeoSeries(gpd.points_from_xy([1], [2]), crs="IAU_2015:49900")
    mars.to_frame("geometry").to_parquet("mars.parquet")
    for name in ("empty", "dir.csv"):
        Path(name).mkdir()
    write_model(Path("other"), {"class": "Other"}, {})
    shutil.copytree("other", "damaged")
    Path("damaged/model.safetensors").write_bytes(b"{")
    before = sorted(here.iterdir())
    status, words, command = case.split(" : ")
    if command.startswith("train"):
        command = command.replace("train", f"train out {SMALL}")
    elif "--mod" not in command:
        command += " --model run"
    fail(command, int(status), words)
    assert sorted(here.iterdir()) == before


def test_a_text_becomes_a_map_or_a_raster_even_with_a_dash(here, trained):
    status, said, errors = run("map -stan out.png --model run --spacing 10")
    assert (status, errors) == (0, "")
    assert said.endswith("'-stan': out.png\n")
    assert Path("out.png").read_bytes().startswith(b"\x89PNG")
    assert run("map -stan out.tif --model run --spacing 5 --region -20 -40 60 40")[0] == 0
    with rasterio.open("out.tif") as raster:
        assert raster.bounds == (-20, -40, 60, 40)
        inland, sea = raster.sample([(22.5, 2.5), (-17.5, -2.5)])
    tied = trained.model.embed_modality("text", ["-stan"])
    assert inland == pytest.approx(trained.model.similarity([[22.5, 2.5]], tied)[0], abs=1e-5)
    assert np.isnan(sea)


def test_similar_places_are_printed_in_order(here):
    status, said, errors = run("nearest -60 -3.1 places.csv --model run --count 3")
    assert (status, errors) == (0, "")
    lines = [line.split() for line in said.splitlines()]
    assert lines[0] == ["name", "lon", "lat", "similarity", "km"]
    assert lines[1] == ["Manaus", "-60.0", "-3.1", "1.000", "0.0"]
    similarity = [float(line[3]) for line in lines[1:]]
    assert len(similarity) == 3
    assert similarity == sorted(similarity, reverse=True)


def test_a_grid_is_embedded_whole_and_in_bands(here, trained):
    asked = "grid out.tif --model run --bounds -10 -5 -4 -1 --resolution 2"
    status, said, errors = run(asked)
    assert (status, errors) == (0, "")
    announced, done = said.splitlines()
    assert announced == "3 x 2 pixels, 16 bands: 0.4 kB before compression"
    assert done.endswith(": out.tif")
    with rasterio.open("out.tif") as raster:
        assert raster.bounds == (-10, -5, -4, -1)
        found = raster.read()[:, 0, 0]
    np.testing.assert_allclose(found, trained.model.embed([[-9.0, -2.0]])[0], atol=1e-5)
    assert run(asked)[0] == 2
    assert "3 x 2 pixels, 2 bands" in run(f"{asked} --band 3 --band 0 --force")[1]
    with rasterio.open("out.tif") as raster:
        assert raster.descriptions == ("e003", "e000")


def test_a_grid_that_is_stopped_goes_on(here, monkeypatch):
    embed, calls = et.EarthTie.embed_places, []

    def interrupted(model, places):
        calls.append(len(places))
        if sum(n > 100 for n in calls) == 2:  # the second tile; the others tell models apart
            raise KeyboardInterrupt
        return embed(model, places)

    monkeypatch.setattr(et.EarthTie, "embed_places", interrupted)
    asked = "grid out.tif --model run --resolution 0.5 --bounds -180 0 180 1"
    status, _, errors = run(asked)
    assert status == 130
    assert re.search(r"^Interrupted\. The same command .*\.out\.tif\.part ", errors, re.MULTILINE)
    assert not Path("out.tif").exists()
    calls.clear()
    assert run(asked)[0] == 0
    assert [n for n in calls if n > 100] == [(720 - 512) * 2]  # only the other tile


# --------------------------------------------------------------------------------- training


def test_a_table_is_tied_with_the_sample_and_the_run_goes_on(here, soil):
    asked = f"train mine {SMALL} --table soil.csv --name soil --features ph,clay"
    status, said, errors = run(asked)
    assert (status, errors) == (0, "")
    done = et.load("mine")
    assert done.model.in_dims == {"text": 256, "soil": 2}
    assert done.config == et.TrainConfig("melt", 1, 32, 1e-3)
    loss = done.history["loss"]
    assert f"loss: {loss.iloc[0]:.3f} in the first step, {loss.iloc[-1]:.3f} in the last" in said
    assert f"held out: {done.history['val_loss'].iloc[-1]:.3f} after the first epoch" in said
    assert "et.load_pretrained('mine')" in said
    fail(f"{asked} --epochs 2", 2, "mine holds a run: add --resume")
    assert run(f"{asked} --epochs 2 --resume")[0] == 0
    assert et.load("mine").history["epoch"].max() == 1
    pd.testing.assert_series_equal(et.load("mine").history["loss"][: len(loss)], loss)
    fail(f"{asked} --resume", 1, "has 2 epochs already, more than 1")


def test_a_column_of_text_is_tied_by_salt(here, soil):
    settings = "--method salt --seed 3 --learning-rate 0.01"
    assert run(f"train mine {SMALL} --table soil.csv --name soil --text town {settings}")[0] == 0
    assert et.load("mine").config == et.TrainConfig("salt", 1, 32, 0.01, seed=3)


def test_classes_a_name_with_a_comma_and_one_like_a_coordinate_are_tied(here, soil):
    table = soil.rename(columns={"Longitude": "east", "Latitude": "north"})
    table["sand, %"], table["code"] = 100 - table["clay"], ["CH", "NA", "DE"] * 100
    table.assign(lat=1000 * table["ph"]).to_csv("soil.csv", index=False)
    named = "--table soil.csv --name soil --lon east --lat north --categories code"
    columns = "--features 'sand, %' --features lat,clay"
    assert run(f"train mine {SMALL} {named} {columns}")[0] == 0
    model = et.load_pretrained("mine")
    assert model.in_dims["soil"] == 6
    assert model.featurisers["soil"].classes == (("code", ("CH", "DE", "NA")),)
    assert model.head("soil").std.max().item() == pytest.approx(1000 * table["ph"].std(), rel=0.2)


def test_images_are_tied_and_rows_that_lack_one_left_out(here, soil):
    Path("there").mkdir()
    soil, rng = soil[:100], np.random.default_rng(0)
    for row in range(100):
        Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(f"there/{row}.png")
    soil = soil.assign(file=[f"{row}.png" if row != 5 else "" for row in range(100)])
    soil.to_csv("there/soil.csv", index=False)
    asked = f"train mine {SMALL} --table there/soil.csv --name soil --images file"
    fail(asked, 1, r"soil\.csv: .*the first is row 5 \(line 7\), in column 'file'")
    assert not Path("mine").exists()
    status, _, errors = run(f"{asked} --missing drop")
    assert (status, errors) == (0, "Warning: left out 1 of 100 rows, which lack a value\n")
    assert isinstance(et.load_pretrained("mine").featurisers["soil"], et.RandomConvolutions)


def test_numbers_that_mark_missing_values_are_named_by_an_option(here, soil):
    soil.assign(ph=soil["ph"].where(soil.index % 50 != 3, -9999)).to_csv("soil.csv", index=False)
    asked = f"train mine {SMALL} --table soil.csv --name soil --features ph,clay"
    lacking = r"soil\.csv: 6 of 300 rows lack a value, the first is row 3 \(line 5\), in col.* 'ph'"
    fail(f"{asked} --nodata -9999", 1, lacking)
    status, _, errors = run(f"{asked} --nodata 1e20 --nodata -9999 --missing drop")
    assert (status, errors) == (0, "Warning: left out 6 of 300 rows, which lack a value\n")
    status, _, errors = run(asked.replace("mine", "other"))
    assert status == 0
    assert re.fullmatch(r"Warning: 6 of 300 .*'ph'.* row 3 \(line 5\).*nodata: -9999.*\n", errors)


def test_a_batch_fits_few_pairs(here):
    few = "--modality text --pairs 300 --epochs 1"
    status, said, errors = run(f"train mine {few}")
    assert (status, errors) == (0, "")
    done = et.load("mine")
    assert 2 < done.config.batch_size < 300
    assert len(done.history) == 4
    assert f"a batch has {done.config.batch_size} pairs, 4 batches are an epoch" in said
    assert run(f"train mine {few} --resume")[0] == 0  # the same size again
    assert run(f"train both {few} --modality lights")[0] == 0
    assert et.load("both").config.batch_size > 1.8 * done.config.batch_size


def test_a_folder_of_other_files_is_left_alone(here):
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    fail(f"train mine {SMALL}", 2, "mine is not empty and holds no run")
    assert [path.name for path in Path("mine").iterdir()] == ["notes.txt"]


def test_ctrl_c_says_whether_an_epoch_is_saved_and_how_to_resume(here, monkeypatch):
    batches = train.METHODS["melt"]

    def stop(epoch, advice):
        def until_it_stops(rows, size, rng, now):
            if now == epoch:
                raise KeyboardInterrupt
            return batches(rows, size, rng, now)

        monkeypatch.setitem(train.METHODS, "melt", until_it_stops)
        fail(f"train mine {SMALL} --epochs 2", 130, rf"^\s*Interrupted\. .*{advice}.*\n$")
        assert Path("mine").exists() == bool(epoch)

    stop(0, "nothing is saved")
    stop(1, "same command with --resume")
    monkeypatch.setitem(train.METHODS, "melt", batches)
    assert run(f"train mine {SMALL} --epochs 2 --resume")[0] == 0
    assert et.load("mine").history["epoch"].max() == 1
