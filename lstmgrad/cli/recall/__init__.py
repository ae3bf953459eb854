"""`recall`: which network remembers the first symbol, and what its gradient has to do with it.

Every kind of network is trained on a memory task and measured before and after: how much gradient
comes back over the delay, how much of that through the additive path of the cell alone, what is
recalled at which delay, and how far the state moves when the first input is another one.
"""

from lstmgrad.cli._shared.command import Command
from lstmgrad.cli.recall._files import curves_file, figure, record
from lstmgrad.cli.recall._options import parse
from lstmgrad.cli.recall._reading import reading
from lstmgrad.cli.recall._study import plan
from lstmgrad.cli.recall._tables import tables

RECALL = Command(
    "recall",
    "--hidden, --seeds or --longest",
    parse,
    plan,
    tables,
    reading,
    figure,
    record,
    {"npz": curves_file},
)
