"""Results in a notebook: a line, a small table and a small picture, as HTML without a script."""

import base64
import html

Table = tuple[list[str], list[list[str]]]

WIDTH = 360
"""Of the picture, in pixels."""

_CELL = "padding:0 0.8em;vertical-align:top;text-align:"


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
        columns = zip(heads, *rows, strict=True)
        sides = ["right" if all(map(_is_number, cells)) else "left" for _, *cells in columns]
        lines = [_row("th", heads, sides), *(_row("td", row, sides) for row in rows)]
        parts.append(f"<table style='display:inline-table'>{''.join(lines)}</table>")
    if picture is not None:
        data, alt = base64.b64encode(picture).decode(), html.escape(line, quote=True)
        style = "display:inline-block;vertical-align:top"
        source = f"data:image/png;base64,{data}"
        parts.append(f'<img src="{source}" alt="{alt}" width="{WIDTH}" style="{style}">')
    return f"<div>{parts[0]}<div>{''.join(parts[1:])}</div></div>"


def _row(tag: str, cells: list[str], sides: list[str]) -> str:
    inside = "".join(
        f"<{tag} style='{_CELL}{side}'>{html.escape(cell)}</{tag}>"
        for cell, side in zip(cells, sides, strict=True)
    )
    return f"<tr>{inside}</tr>"


def _is_number(cell: str) -> bool:
    """Whether a cell holds a number, or the mark of one that is not known."""
    if cell in ("", "?"):
        return True
    try:
        float(cell.rstrip("%"))
    except ValueError:
        return False
    return True
