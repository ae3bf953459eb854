"""A figure for each finding: the readings that it comes from, with its thresholds as lines."""

from collections.abc import Callable
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lstmgrad._calls import public
from lstmgrad.diagnosis import Diagnosis
from lstmgrad.plot._finding_panels import (
    AGREEMENT,
    CELL,
    DRIVE,
    GAINS,
    GATES,
    NORMS,
    SHARES,
    SIZES,
    SPECTRUM,
    Panel,
)
from lstmgrad.plot._page import page
from lstmgrad.plot._style import check_result

_PANELS: dict[str, tuple[Panel, ...]] = {
    "non-finite": (NORMS,),
    "forget-gates": (NORMS, GATES),
    "saturated-output": (CELL, NORMS),
    "saturated-units": (DRIVE,),
    "dead-units": (DRIVE,),
    "gain": (GAINS, NORMS),
    "reach": (SHARES, NORMS),
    "growth": (NORMS,),
    "truncation": (SHARES,),
    "clip": (SIZES,),
    "signal-to-noise": (AGREEMENT,),
    "directions": (SPECTRUM,),
    "memory-is-fine": (SHARES,),
}
"""What is drawn for each rule, from the top down."""


class Illustration(NamedTuple):
    """A figure that belongs to a finding.

    Attributes:
        figure: of matplotlib.
        alt: what it shows, in words, for whoever does not see it.

    Example:
        >>> batch = jnp.stack([inputs, -inputs])
        >>> found = lg.diagnose(jax.vmap(lambda one: lg.chain(model, one))(batch), lag=5)
        >>> lg.plot.diagnosis(found)["growth"].alt[:24]
        'The norm of the Jacobian'
    """

    figure: Figure
    alt: str


@public
def diagnosis(result: Diagnosis) -> dict[str, Illustration]:
    """Returns a figure for each finding that was found or is open, by its rule.

    Args:
        result: from `lg.diagnose`.

    Returns:
        By rule, in the order of the findings: the figure, outside of pyplot, and what it shows in
        words. Rules whose readings are not there have none.

    Raises:
        ValueError: not a diagnosis.

    Example:
        ``lg.report.page(found, lg.plot.diagnosis(found))``

        >>> batch = jnp.stack([inputs, -inputs])
        >>> found = lg.diagnose(jax.vmap(lambda one: lg.chain(model, one))(batch), lag=5)
        >>> figures = lg.plot.diagnosis(found)
        >>> "growth" in figures, "non-finite" in figures
        (True, False)
    """
    check_result(result, Diagnosis, "result", "lg.diagnose")
    drawn = {}
    for finding in result:
        panels = [panel for panel in _PANELS.get(finding.rule, ()) if panel.has(result.readings)]
        if finding.verdict == "clear" or not panels:
            continue

        def drawer(panel: Panel) -> Callable[[Axes], Any]:
            return lambda ax: panel.draw(ax, result)

        figure = page([drawer(panel) for panel in panels], width=5.2, height=2.4)
        figure.suptitle(finding.title, x=0.01, ha="left")
        drawn[finding.rule] = Illustration(figure, " ".join(panel.alt(result) for panel in panels))
    return drawn


def overview(result: Diagnosis) -> Figure:
    """Returns one figure of a diagnosis: how much of the gradient comes back, and from where.

    Args:
        result: from `lg.diagnose`.
    """
    panels = (NORMS, SHARES)
    return page([lambda ax, p=p: p.draw(ax, result) for p in panels], width=5.2, height=2.4)
