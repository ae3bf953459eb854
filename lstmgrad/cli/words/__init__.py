"""`words`: what each word of a text adds to the gradient when the first one is to be recalled."""

from lstmgrad.cli._shared.command import Command
from lstmgrad.cli.words._options import parse
from lstmgrad.cli.words._reading import reading
from lstmgrad.cli.words._report import figure, record, tables
from lstmgrad.cli.words._study import plan

WORDS = Command(
    "words", "--draws, --hidden or a shorter text", parse, plan, tables, reading, figure, record
)
