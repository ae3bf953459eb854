"""A diagnosis as a page that a person reads, and as JSON that a program does.

    found = lg.diagnose(chains, lag=200)
    Path("diagnosis.html").write_bytes(lg.report.page(found, lg.plot.diagnosis(found)))
    Path("diagnosis.json").write_bytes(lg.report.json(found))

The page is one file: it needs no network and no script, follows the reader's choice of light or
dark, and prints. The same diagnosis gives the same bytes.
"""

from lstmgrad.report._json import json
from lstmgrad.report._page import page

__all__ = ["json", "page"]
