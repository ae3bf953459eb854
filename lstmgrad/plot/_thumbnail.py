"""A small picture of any result, for notebooks: each drawn by the function of its own kind."""

import io
from collections.abc import Callable
from typing import Any

from matplotlib.figure import Figure

from lstmgrad._batch_summary import BatchSummary
from lstmgrad._gradients.contributions import Contributions
from lstmgrad._gradients.maps import ContributionMap
from lstmgrad._gradients.saliency import Saliency
from lstmgrad._gradients.sensitivity import Sensitivity
from lstmgrad._gradients.signal import SignalToNoise
from lstmgrad._gradients.truncation import TruncationBias
from lstmgrad._norms.maps import NormMap
from lstmgrad._norms.records import NormProfile
from lstmgrad._responses.swaps import SwapResponse
from lstmgrad._result import Result
from lstmgrad._routes.budget import GainBudget
from lstmgrad._routes.shares import RouteShares
from lstmgrad._spectra.fisher import FisherMemory
from lstmgrad._spectra.fixed_points import FixedPoints
from lstmgrad._spectra.parallel import NewtonRun
from lstmgrad._spectra.records import LyapunovSpectrum, SingularSpectrum
from lstmgrad.plot._batch_summary import batch_summary
from lstmgrad.plot._contributions import contributions, truncation_bias
from lstmgrad.plot._fixed_points import fixed_points
from lstmgrad.plot._headline import expect_headline
from lstmgrad.plot._lyapunov import lyapunov_spectrum
from lstmgrad.plot._maps import contribution_map, norm_map, saliency
from lstmgrad.plot._memories import fisher_memory, sensitivity, signal_to_noise
from lstmgrad.plot._newton import newton_unroll
from lstmgrad.plot._norms import norms
from lstmgrad.plot._palette import style
from lstmgrad.plot._routes import gain_budget, route_shares
from lstmgrad.plot._singular import singular_spectrum
from lstmgrad.plot._swaps import swap_response
from lstmgrad.plot._training import training_curve
from lstmgrad.training import TrainingCurve

DRAWN: dict[type[Result], Callable[..., Any]] = {
    BatchSummary: batch_summary,
    ContributionMap: contribution_map,
    Contributions: contributions,
    FisherMemory: fisher_memory,
    FixedPoints: fixed_points,
    GainBudget: gain_budget,
    LyapunovSpectrum: lyapunov_spectrum,
    NewtonRun: newton_unroll,
    NormMap: norm_map,
    NormProfile: norms,
    RouteShares: route_shares,
    Saliency: saliency,
    Sensitivity: sensitivity,
    SignalToNoise: signal_to_noise,
    SingularSpectrum: singular_spectrum,
    SwapResponse: swap_response,
    TrainingCurve: training_curve,
    TruncationBias: truncation_bias,
}
"""What draws a result, by its kind."""


def thumbnail(result: Result) -> bytes | None:
    """Returns a result as a small PNG, of twice the size that it is shown at.

    Args:
        result: of one sequence or of a batch.

    Returns:
        None for a kind that nothing draws, and where there is nothing in it to be drawn.
    """
    draw = DRAWN.get(type(result))
    if draw is None:
        return None
    with style():
        figure = Figure(figsize=(3.6, 2.4), layout="constrained")
        try:
            ax = figure.subplots()
            expect_headline(ax)
            draw(result, ax=ax)
        except ValueError:  # as of the summary of maps
            return None
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=200)
    return buffer.getvalue()
