"""`compare`: how far the gradient reaches, cell by cell or in a trained network from a file.

Two producers, `_cells` and `_weights`, make the same record, a `Study`; tables, sentence, figure
and files are made from it alone.
"""

from lstmgrad.cli._shared.command import Command, Plan
from lstmgrad.cli.compare._cells import plan_cells
from lstmgrad.cli.compare._files import curves_file, figure, record
from lstmgrad.cli.compare._options import Cells, Options, parse
from lstmgrad.cli.compare._report import reading, tables
from lstmgrad.cli.compare._weights import plan_weights


def plan(options: Options) -> Plan:
    """Returns the run that the options ask for, once the input is read and fits them."""
    if isinstance(options.source, Cells):
        return plan_cells(options, options.source)
    return plan_weights(options, options.source)


COMPARE = Command(
    "compare",
    "--hidden or --length",
    parse,
    plan,
    tables,
    reading,
    figure,
    record,
    {"npz": curves_file},
)
