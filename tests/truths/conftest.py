"""A fixture that holds a figure to its reference, and the table of all that were held.

`pytest tests/truths -m "" --truths-table FILE` writes the table as Markdown; README.md here is one.
"""

import re
from pathlib import Path

import pytest

HEAD = """# Held against

What the library computes, beside figures that owe nothing to it: closed forms, published numbers,
independent calculations. The sources, and why the tolerances are what they are, stand at the top of
each file. Last digits differ between machines. This table is written by

```sh
pytest tests/truths -m "" --truths-table tests/truths/README.md
```

| truth | quantity | reference | ours | difference | tolerance |
|---|---|---|---|---|---|
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--truths-table", type=Path, help="write the table of truths to this file")


@pytest.fixture
def truth(request: pytest.FixtureRequest):
    """``truth(quantity, reference, ours, atol=..., rtol=...)`` asserts, and makes a row."""
    number = re.match(r"test_t(\d+)", request.path.name)
    assert number is not None

    def hold(quantity: str, reference, ours, *, atol: float = 0.0, rtol: float = 0.0) -> None:
        reference, ours = float(reference), float(ours)
        difference = 0.0 if ours == reference else ours - reference
        tolerance = float(atol + rtol * abs(reference))
        row = (f"T{int(number[1])}", quantity, reference, ours, difference, tolerance)
        request.node.user_properties.append(("truth", row))
        assert abs(difference) <= tolerance, f"{quantity}: {ours!r} instead of {reference!r}"

    return hold


class Table:
    """Collects the rows, from other processes too, and writes them in the end."""

    def __init__(self, path: Path):
        self.path = path
        self.rows: dict[tuple[str, int], tuple] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            found = [row for name, row in report.user_properties if name == "truth"]
            for index, row in enumerate(found):
                assert isinstance(row, tuple | list)  # as it comes from another process
                self.rows[report.nodeid, index] = tuple(row)

    def pytest_sessionfinish(self) -> None:
        lines = []
        for _, row in sorted(self.rows.items(), key=lambda item: (int(item[1][0][1:]), *item[0])):
            name, quantity, reference, ours, difference, tolerance = row
            numbers = f"{reference:.12g} | {ours:.12g} | {difference:.1e} | {tolerance:.1e}"
            lines.append(f"| {name} | {quantity} | {numbers} |\n")
        self.path.write_text(HEAD + "".join(lines), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--truths-table", None)
    if path is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Table(path))
