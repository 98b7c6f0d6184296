"""Missing and damaged files of the paper's data: one error, which names the file."""

import tarfile
import zipfile
import zlib
from xml.etree.ElementTree import ParseError

import pytest

from earthtie_lite.paper.files import existing, reading


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"expected tiles, but there is no .*gone; download it"):
        existing(tmp_path / "gone", "tiles")
    assert existing(str(tmp_path), "tiles") == tmp_path


ERRORS = [OSError, EOFError, KeyError, ValueError, RuntimeError, ParseError, zlib.error]


@pytest.mark.parametrize("error", [*ERRORS, tarfile.ReadError, zipfile.BadZipFile])
def test_what_a_library_raises_at_a_file_becomes_one_error_that_names_it(tmp_path, error):
    (tmp_path / "t.csv").touch()
    message = r"expected a table, but .*t\.csv cannot be read: .*cut"
    with pytest.raises(ValueError, match=message), reading(tmp_path / "t.csv", "a table"):
        raise error("cut")


def test_a_missing_library_is_not_a_damaged_file(tmp_path):
    with pytest.raises(ImportError), reading(tmp_path, "a table"):
        raise ImportError("no such library")
