"""Tables in files: what is read of them, held against pandas; what is left out, filled, refused."""

import datetime
import importlib
import io
import random

import numpy as np
import pandas
import pytest
from commands import refused

from lstmgrad.cli._shared.error import CommandError
from lstmgrad.cli._shared.sequences import read_numbers
from lstmgrad.cli._shared.tables import Reading

WEATHER = """\
"Date Time","p (mbar)","T (degC)",note,
01.01.2009 00:10:00,996.52,-8.02,,
01.01.2009 00:20:00,996.57,,windy,
01.01.2009 00:30:00,NaN,-8.51,,
01.01.2009 00:40:00,996.51,-8.31,,
"""


def read(tmp_path, content, name="weather.csv", **reading):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_numbers(path, Reading(**reading))


def frame():
    """The same numbers as a data frame, by pandas' own reader."""
    return pandas.read_csv(io.StringIO(WEATHER))[["p (mbar)", "T (degC)"]]


@pytest.mark.parametrize(
    ("fill", "filled"),
    [
        ("previous", lambda frame: frame.ffill().bfill()),
        ("linear", lambda frame: frame.interpolate(limit_direction="both")),
    ],
)
@pytest.mark.parametrize("edge", [0, 3])
def test_gaps_are_filled_as_pandas_fills_them(tmp_path, fill, filled, edge):
    known, line = frame(), WEATHER.split("\n")[edge + 1]
    content = WEATHER.replace(line, f"day,,{known.iloc[edge, 1]:g},,")
    known.iloc[edge, 0] = np.nan
    found = read(tmp_path, content, fill=fill)
    np.testing.assert_allclose(found.rows, filled(known), rtol=1e-15)
    words = {"previous": "the number before them", "linear": "a line between their neighbors"}
    assert found.notes[-1] == f"3 gaps filled with {words[fill]}"


def test_dates_words_and_empty_columns_are_left_out_with_a_note(tmp_path):
    found = read(tmp_path, WEATHER, fill="previous")
    assert found.summary == "4 rows of 2 columns"
    assert found.notes[:-1] == (
        "without column 1 ('Date Time'): no number in it ('01.01.2009 00:10:00')",
        "without column 4 ('note'): no number in it ('windy')",
        "without column 5: it is empty",
    )


@pytest.mark.parametrize(
    "columns", [("T (degC)", "p (mbar)"), ("3", "2"), ("T (degC)", "2")], ids="-".join
)
def test_columns_are_chosen_by_name_or_number_in_their_order(tmp_path, columns):
    found = read(tmp_path, WEATHER, columns=columns, fill="previous")
    np.testing.assert_array_equal(found.rows, frame().ffill().to_numpy()[:, ::-1])
    assert found.notes == ("2 gaps filled with the number before them",)
    with pytest.raises(Exception, match=r"line 3, column 3 \('T \(degC\)'\): there is no number"):
        read(tmp_path, WEATHER, columns=columns)


@pytest.mark.parametrize(
    ("content", "delimiter", "decimal"),
    [
        ("a;b\n1.5;2\n-3e2;4\n", ";", "."),
        ("a;b\n1,5;2\n-3,25e2;,5\n", ";", ","),
        ("1,5;2\n3;4,5\n", ";", ","),
        ("a\tb\n1,5\t2\n3\t4,5\n", "\t", ","),
        ("a,b\n1.5,2\n3,4\n", ",", "."),
        ('"a;b","c"\n"1.5","2"\n"3","4"\n', ",", "."),
        ("a,b;c\n1,2\n3,4\n", ",", "."),
    ],
)
def test_delimiters_and_decimal_commas_are_detected(tmp_path, content, delimiter, decimal):
    header = None if content[0] == "1" else 0
    options = {"sep": delimiter, "decimal": decimal, "header": header}
    known = pandas.read_csv(io.StringIO(content), **options)
    found = read(tmp_path, content)
    np.testing.assert_array_equal(found.rows, known.to_numpy(np.float64))
    assert found.notes == (("decimal commas",) if decimal == "," else ())


@pytest.mark.parametrize("options", [{}, {"header": "a b"}, {"fmt": "%9.3f", "header": "a"}])
def test_what_savetxt_writes(tmp_path, options):
    values = np.random.default_rng(0).normal(size=(5, 2)).round(3)
    for delimiter in (" ", ",", "\t"):
        np.savetxt(tmp_path / "a.csv", values, delimiter=delimiter, **options)
        np.testing.assert_array_equal(read_numbers(tmp_path / "a.csv").rows, values)


def test_dates_beside_decimal_commas_are_no_numbers(tmp_path):
    found = read(tmp_path, "when;x\n12.30;1,5\n12.40;2,5\n")
    np.testing.assert_array_equal(found.rows, [[1.5], [2.5]])
    assert found.notes[1] == "without column 1 ('when'): no number in it ('12.30')"


def test_a_title_above_the_table(tmp_path):
    found = read(tmp_path, "Station 12; Jena\n1;2;3\n4;5;6\n")
    np.testing.assert_array_equal(found.rows, [[1, 2, 3], [4, 5, 6]])


def with_dates():
    days = [datetime.datetime(2009, 1, day) for day in (1, 2, 3)]
    return pandas.DataFrame(
        {
            "day": days,
            "word": ["a", "b", None],
            "x": [1, 2, 3],
            "y": [0.5, np.nan, 2.5],
            "rain": pandas.array([True, False, True], "boolean"),
        }
    )


def excel(frame, sheets=("one",)):
    buffer = io.BytesIO()
    with pandas.ExcelWriter(buffer, engine="openpyxl") as writer:
        for sheet in sheets:
            frame.to_excel(writer, sheet_name=sheet, index=False)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["parquet", "xlsx"])
def test_parquet_and_excel(tmp_path, kind):
    known = with_dates()
    content = known.to_parquet(index=False) if kind == "parquet" else excel(known)
    found = read(tmp_path, content, f"a.{kind}", fill="linear")
    np.testing.assert_array_equal(found.rows, [[1, 0.5, 1], [2, 1.5, 0], [3, 2.5, 1]])
    assert found.summary == "3 rows of 3 columns"
    assert found.notes[0].startswith("without column 1 ('day'): no number in it ('2009-01-01")
    assert found.notes[1] == "without column 2 ('word'): no number in it ('a')"
    row = 2 if kind == "parquet" else 3  # behind the names
    with pytest.raises(Exception, match=rf"row {row}, column 4 \('y'\): there is no number"):
        read(tmp_path, content, f"a.{kind}")


def test_of_several_sheets_the_first_is_read(tmp_path):
    content = excel(pandas.DataFrame({"x": [1.0, 2.0]}), ("mine", "other"))
    found = read(tmp_path, content, "a.xlsx")
    np.testing.assert_array_equal(found.rows, [[1], [2]])
    assert found.notes == ("sheet 'mine', the first of 2",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--columns", "p"],
            "their numbers, from 1 to 5 ('Date Time', 'p (mbar)', 'T (degC)', 'no",
        ),
        (["--columns", "6"], "--columns: expected names of columns of "),
        (["--columns", "2,p (mbar)"], "--columns: column 2 ('p (mbar)') is named twice"),
        (["--columns", "1"], "there is no number in column 1 ('Date Time') of "),
        (["--columns", "p (mbar),"], "expected names of columns, separated by commas, but got"),
        (["--fill", "zero"], "--fill: invalid choice: 'zero'"),
        (["--fill", "linear", "--columns", "note"], "there is no number in column 4 ('note')"),
    ],
)
def test_refusals_of_options(tmp_path, options, message):
    (tmp_path / "weather.csv").write_text(WEATHER)
    found = refused(tmp_path, "compare", "--input", str(tmp_path / "weather.csv"), *options)
    assert message in found


def test_options_of_tables_beside_a_text_and_beside_several_sequences(tmp_path):
    (tmp_path / "a.txt").write_text("some text")
    np.save(tmp_path / "a.npy", np.ones((2, 5, 3)))
    for given in ([], ["--input", str(tmp_path / "a.txt")]):
        message = refused(tmp_path, "compare", *given, "--columns", "1")
        assert message == "--columns: expected a table in --input, not a text"
    given = ["--cells", "gru", "--input", str(tmp_path / "a.npy"), "--fill", "linear"]
    message = refused(tmp_path, "diagnose", *given)
    assert message.startswith("--fill: expected no such option beside ")
    message = refused(tmp_path, "diagnose", "--demo", "closed-gates", "--columns", "1")
    assert message == "--columns: expected no such option beside --demo, which has its own"


def test_without_pandas_a_sentence_says_what_brings_it(tmp_path, monkeypatch):
    (tmp_path / "a.xlsx").write_bytes(b"anything")
    known = importlib.import_module

    def missing(name):
        if name == "openpyxl":
            raise ModuleNotFoundError(name, name=name)
        return known(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    message = refused(tmp_path, "compare", "--input", str(tmp_path / "a.xlsx"))
    assert 'the extra tables brings it: pip install "lstmgrad[tables]"' in message


def mutated(draw: random.Random, content: bytes) -> bytes:
    """The bytes with some of them changed, left out, put in or cut off."""
    changed = bytearray(content)
    for _ in range(draw.choice([1, 3, 20])):
        place = draw.randrange(len(changed) + 1)
        match draw.randrange(4):
            case 0:
                changed[place : place + 1] = draw.randbytes(1)
            case 1:
                del changed[place : place + 8]
            case 2:
                changed.insert(place, draw.choice(b';,\t\n"\0-'))
            case _:
                del changed[max(place, len(changed) // 2) :]
    return bytes(changed)


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".npy", ".xlsx", ".parquet"])
def test_damaged_files_are_read_or_refused_in_a_sentence(tmp_path, kind):
    known, buffer = with_dates(), io.BytesIO()
    np.save(buffer, known[["x", "y"]].to_numpy())
    content = {
        ".csv": known.to_csv(index=False).encode(),
        ".tsv": known.to_csv(sep="\t", decimal=",").encode(),
        ".npy": buffer.getvalue(),
        ".xlsx": excel(known),
        ".parquet": known.to_parquet(),
    }[kind]
    draw, path, sentences = random.Random(0), tmp_path / f"a{kind}", []
    for _ in range(100):
        path.write_bytes(mutated(draw, content))
        try:
            found = read_numbers(path, Reading(fill=draw.choice([None, "linear", "previous"])))
            assert np.isfinite(found.rows).all()
        except CommandError as error:
            sentences.append(str(error))
    assert sentences
    assert all(each.startswith(f"{path}") and "\n" not in each for each in sentences)
