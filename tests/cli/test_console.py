"""Text for terminals: encodings, columns, numbers in words."""

import io
import math

import pytest

from lstmgrad.cli._shared import console


def test_text_on_a_terminal_of_another_encoding(monkeypatch):
    buffer = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(buffer, encoding="ascii"))
    console.say("a", "é日")
    assert buffer.getvalue().split() == [b"a", b"\\xe9\\u65e5"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("word", "word  "),
        ("letters", "lett.."),
        ("日本語", "日本語"),
        ("日本語日", "日本.."),
        ("e\u0301", "e\u0301     "),
    ],
)
def test_columns_on_the_terminal(text, expected):
    assert console.fitted(text, 6) == expected


@pytest.mark.parametrize(
    ("log10", "power", "scientific"),
    [
        (0.0, "10^0.0", "1.000e+00"),
        (-0.04, "10^0.0", "9.120e-01"),
        (-5.25, "10^-5.2", "5.623e-06"),
        (1000.30103, "10^1000.3", "2.000e+1000"),
        (3 - 1e-9, "10^3.0", "1.000e+03"),
        (-math.inf, "0", "0"),
        (math.inf, "inf", "inf"),
        (math.nan, "nan", "nan"),
    ],
)
def test_powers_of_ten(log10, power, scientific):
    assert console.power(log10) == power
    assert console.scientific(log10) == scientific
