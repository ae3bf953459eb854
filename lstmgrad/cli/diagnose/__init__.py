"""`diagnose`: what is wrong with a network on what it reads, what helps, and the weights after it.

A subject is a network with its sequences and its loss: from a file of weights, from a cell at
initialization, or one with a planted fault (`_demos`). The study is its diagnosis.
"""

from lstmgrad.cli._shared.command import Command
from lstmgrad.cli.diagnose._options import parse
from lstmgrad.cli.diagnose._report import figure, page, reading, record, tables
from lstmgrad.cli.diagnose._study import finish, plan

DIAGNOSE = Command(
    "diagnose",
    "--hidden, --length or --sequences",
    parse,
    plan,
    tables,
    reading,
    figure,
    record,
    {"html": page},
    finish,
)
