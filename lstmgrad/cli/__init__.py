"""The command line: files in, tables and figures out. `main` is the console script."""

from lstmgrad.cli._main import main

__all__ = ["main"]
