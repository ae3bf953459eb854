"""Results in a notebook: a line, a small table and a small picture, as HTML without a script."""

import base64
import html

Table = tuple[list[str], list[list[str]]]

WIDTH = 360
"""Of the picture, in pixels."""

_CELL = "padding:0 0.8em;text-align:right"


def as_html(line: str, table: Table | None = None, picture: bytes | None = None) -> str:
    """Returns what a notebook shows of a result; everything in it is escaped.

    Args:
        line: above all.
        table: the heads of the columns, and the rows.
        picture: a PNG, shown at a width of `WIDTH`.
    """
    parts = [f"<code>{html.escape(line)}</code>"]
    if table is not None:
        heads, rows = table
        lines = [_row("th", heads), *(_row("td", row) for row in rows)]
        parts.append(f"<table style='display:inline-table'>{''.join(lines)}</table>")
    if picture is not None:
        data, alt = base64.b64encode(picture).decode(), html.escape(line, quote=True)
        style = "display:inline-block;vertical-align:top"
        source = f"data:image/png;base64,{data}"
        parts.append(f'<img src="{source}" alt="{alt}" width="{WIDTH}" style="{style}">')
    return f"<div>{parts[0]}<div>{''.join(parts[1:])}</div></div>"


def _row(tag: str, cells: list[str]) -> str:
    inside = "".join(f"<{tag} style='{_CELL}'>{html.escape(cell)}</{tag}>" for cell in cells)
    return f"<tr>{inside}</tr>"
