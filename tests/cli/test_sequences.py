"""What the commands read: sequences in files, and files that are refused."""

import codecs
import io
from pathlib import Path

import numpy as np
import pytest
from commands import refused

from lstmgrad.cli._shared.sequences import read_sequence


def npy(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", ": the file is empty"),
        ("a.txt", b"x", ": expected at least 2 characters, but it has 1"),
        ("a.txt", b"ab\ncd\xc3\xa9\xff", ", line 2, column 4: byte 0xff is not UTF-8"),
        ("a.txt", b"\xef\xbb\xbf\r\n\xff", ", line 2, column 1: byte 0xff is not UTF-8"),
        (
            "a.dat",
            b"12",
            ": expected a file that ends in .txt, .csv, .tsv, .npy, .parquet, .xlsx, but it",
        ),
        ("a.csv", b"\n\n", ": expected rows of numbers, but there are none"),
        ("a.csv", b"x,y\n", ": expected rows of numbers, but there are none"),
        ("a.csv", b"1,2\n", ": expected at least 2 rows of 1 or more numbers, but it has 1 x 2"),
        ("a.csv", b"x,y\n1,2\n3\n", ", line 3: expected 2 columns, as in line 2, but it has 1"),
        ("a.csv", b"1,2\n\n3,4\n", ", line 2: expected 2 columns, as in line 1, but it has 0"),
        ("a.csv", b"1,2\n3,four\n", ", line 2, column 2: 'four' is not a number"),
        ("a.csv", b"1,2\n3,\n", ", line 2, column 2: there is no number; --fill previous or"),
        ("a.csv", b"day,2\n3,4\n", ", line 1, column 1: 'day' is not a number"),
        ("a.csv", b"1,2\n3,1_0\n", ", line 2, column 2: '1_0' is not a number"),
        ("a.csv", b"1,2\n3,4\nnan,6\n", ", line 3, column 1: there is no number"),
        ("a.csv", b"1,2\n3,1e999\n", ", line 2, column 2: 1e999 is not finite"),
        ("a.csv", b'1,2\n3,"4\n', ", line 2: unexpected end of data"),
        (
            "a.csv",
            b"x;y\n1,5;2\n2.5;3\n",
            ", line 3, column 1 ('x'): '2.5' is not a number, because",
        ),
        (
            "a.csv",
            b'x,y\n"1,5",2\n3,4\n',
            ", line 2, column 1 ('x'): '1,5' is not a number; decimal",
        ),
        (
            "a.csv",
            b"day,word\nMonday,a\nTuesday,b\n",
            ": expected rows of numbers, but there is no",
        ),
        ("a.tsv", b"1\t2\n3\tfour\n", ", line 2, column 2: 'four' is not a number"),
        ("a.xlsx", b"PK no workbook", ": it is not a complete Excel workbook (.xlsx)"),
        ("a.parquet", b"PAR1 and no more", ": it is not a complete Parquet file"),
        ("a.csv", b"1,2\n\xff,4\n", ", line 2, column 1: byte 0xff is not UTF-8"),
        ("a.npy", b"no array", ": it is not a complete NumPy array file (numpy.save)"),
        ("a.npy", npy(np.ones((9, 9)))[:-8], ": it is not a complete NumPy array file"),
        ("a.npy", npy(np.array([{}, 1], object)), ": an array of Python objects is not read"),
        ("a.npy", npy(np.ones((2, 2), complex)), ": expected real numbers, but its dtype is comp"),
        ("a.npy", npy(np.array(["a", "b"])), ": expected real numbers, but its dtype is <U1"),
        (
            "a.npy",
            npy(np.ones((2, 2, 2, 2))),
            "shape (T, d) or (T,), but its shape is (2, 2, 2, 2)",
        ),
        ("a.npy", npy(np.float64(1)), "shape (T, d) or (T,), but its shape is ()"),
        ("a.npy", npy(np.ones((5, 0))), "at least 2 rows of 1 or more numbers, but it has 5 x 0"),
        ("a.npy", npy(np.ones(0)), ": expected at least 2 rows of 1 or more numbers"),
        ("a.npy", npy([[1, 2], [3, np.nan]]), ", row 2, column 2: there is no number"),
        ("a.npy", npy([1, 2, -np.inf]), ", row 3, column 1: -inf is not finite"),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    found = refused(tmp_path, "compare", "--input", str(path))
    assert found.startswith(str(path))
    assert message in found


def test_missing_file_directory_and_unreadable_file(tmp_path, monkeypatch):
    assert "none.csv: there is no such file" in refused(tmp_path, "compare", "--input", "none.csv")
    assert "expected a file, but it is a directory" in refused(
        tmp_path, "compare", "--input", str(tmp_path)
    )
    (tmp_path / "a.txt").write_text("abc")

    def deny(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", deny)
    message = refused(tmp_path, "compare", "--input", str(tmp_path / "a.txt"))
    assert message.endswith("a.txt: cannot be read: Permission denied")


def test_length_longer_than_a_file(tmp_path):
    (tmp_path / "a.csv").write_text("1\n2\n3\n")
    message = refused(tmp_path, "compare", "--input", str(tmp_path / "a.csv"), "--length", "4")
    assert "--length: expected a whole number from 1 to 3, because" in message
    assert message.endswith("has 3 rows, but got 4")


def test_reading_text(tmp_path):
    path = tmp_path / "a.TXT"
    path.write_bytes("\ufeffäb\r\nä".encode())
    sequence = read_sequence(path)
    assert sequence.symbolic
    np.testing.assert_array_equal(sequence.rows, [2, 1, 0, 2])
    assert sequence.width == 3
    zen = read_sequence(None)
    import this

    assert len(zen.rows) == len(codecs.decode(this.s, "rot13")) == 856


@pytest.mark.parametrize("name", ["a.csv", "a.npy"])
def test_reading_numbers_standardizes_columns(tmp_path, name):
    values = np.array([[1e300, 3, 0.1], [-1e300, 5, 0.1], [1e300, 3, 0.1], [-1e300, 5, 0.1]])
    np.savetxt(tmp_path / "a.csv", values, delimiter=",")
    np.save(tmp_path / "a.npy", values)
    sequence = read_sequence(tmp_path / name)
    assert not sequence.symbolic
    expected = np.array([[1, -1, 0], [-1, 1, 0]] * 2)
    np.testing.assert_allclose(sequence.rows, expected, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.int16, np.float16, bool])
def test_one_column_of_any_real_dtype(tmp_path, dtype):
    np.save(tmp_path / "a.npy", np.array([0, 1, 0, 1], dtype))
    sequence = read_sequence(tmp_path / "a.npy")
    np.testing.assert_allclose(sequence.rows, [[-1], [1], [-1], [1]])
    assert sequence.summary == "4 rows of 1 column, standardized"
