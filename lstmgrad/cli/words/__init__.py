"""`words`: what each word of a text adds to the gradient."""

from lstmgrad.cli._shared.command import Command
from lstmgrad.cli.words._options import parse
from lstmgrad.cli.words._report import figure, reading, record, tables
from lstmgrad.cli.words._study import plan

WORDS = Command("words", "--hidden or a shorter text", parse, plan, tables, reading, figure, record)
