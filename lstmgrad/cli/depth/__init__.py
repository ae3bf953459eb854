"""`depth`: the gradient through a stack of layers, factor by factor."""

from lstmgrad.cli._shared.command import Command
from lstmgrad.cli.depth._options import parse
from lstmgrad.cli.depth._report import figure, reading, record, tables
from lstmgrad.cli.depth._study import plan

DEPTH = Command("depth", "--width or --layers", parse, plan, tables, reading, figure, record)
