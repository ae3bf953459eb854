"""lstmgrad: where gradients go in recurrent networks, measured exactly.

The way in is `chain`, and every analysis takes the chain:

    chain = lg.chain(cell.model(params), inputs)         the chain of ds_t/ds_{t-1}
    lg.backward_norms(chain[k:t], of="c", wrt="c")       how far does the gradient reach?
    lg.routes(chain)                                     through what did it come?
    lg.contributions(chain, cotangents)                  what does each step add to the weights?
    lg.lyapunov_spectrum(chain)                          how many directions survive?

`lg.cells` has recurrent cells, `lg.interop` models of other frameworks, `lg.plot` draws every
result, and `lg.theory` has curves to draw beside it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from lstmgrad import _result, cells
from lstmgrad._archive import load, save
from lstmgrad._batch_summary import BatchSummary, batch_summary
from lstmgrad._chains.base import Chain
from lstmgrad._chains.dense import DenseChain
from lstmgrad._chains.diagonal import DiagonalChain, linearize_diagonal
from lstmgrad._chains.implicit import chain, linearize
from lstmgrad._chains.one_sided import OneSidedChain, linearize_one_sided
from lstmgrad._chains.products import (
    Method,
    prefix_products,
    product,
)
from lstmgrad._chains.propagate import jacobian, pull_back, push_forward
from lstmgrad._chains.stream import StreamedChain, stream
from lstmgrad._chains.trajectory import Trajectory, unroll
from lstmgrad._costs.estimate import Estimate, estimate
from lstmgrad._gradients.adjoint import adjoint, loss_cotangents
from lstmgrad._gradients.contributions import Contributions, contributions
from lstmgrad._gradients.maps import ContributionMap, contribution_map
from lstmgrad._gradients.regularizer import pascanu_regularizer
from lstmgrad._gradients.saliency import Saliency, saliency
from lstmgrad._gradients.sensitivity import Sensitivity, sensitivity
from lstmgrad._gradients.signal import SignalToNoise, signal_to_noise
from lstmgrad._gradients.truncation import TruncationBias, truncation_bias, truncation_length
from lstmgrad._model import Model
from lstmgrad._norms.decay import decay_rate, half_life, horizon
from lstmgrad._norms.inputs import input_norms
from lstmgrad._norms.maps import NormMap, norm_map
from lstmgrad._norms.matrix_free import matrix_free_norms
from lstmgrad._norms.profiles import backward_norms, forward_norms
from lstmgrad._norms.records import NormProfile
from lstmgrad._norms.units import unit_norms
from lstmgrad._numeric.scaled import Scaled, scaled
from lstmgrad._responses.finite import FirstNonFinite, first_non_finite
from lstmgrad._responses.swaps import SwapResponse, swap_response
from lstmgrad._result import summary
from lstmgrad._resume import resume
from lstmgrad._routes.budget import GainBudget, gain_budget
from lstmgrad._routes.layers import LayerFactors, layer_factors
from lstmgrad._routes.routes import routes
from lstmgrad._routes.shares import RouteShares, route_shares
from lstmgrad._routes.values import tagged_values
from lstmgrad._spectra.angles import covariant_angles
from lstmgrad._spectra.determinant import log_abs_det
from lstmgrad._spectra.dimension import entropy_rate, kaplan_yorke_dimension
from lstmgrad._spectra.eigenvalues import step_eigenvalues
from lstmgrad._spectra.fisher import FisherMemory, fisher_memory
from lstmgrad._spectra.fixed_points import FixedPoints, fixed_points
from lstmgrad._spectra.forcing import (
    ForcingInterval,
    Growth,
    forcing_interval,
    forcing_strength,
)
from lstmgrad._spectra.lyapunov import lyapunov_spectrum
from lstmgrad._spectra.newton import NewtonIterations, newton_iterations
from lstmgrad._spectra.parallel import NewtonRun, newton_unroll
from lstmgrad._spectra.rank import (
    effective_rank,
    isometry_distance,
    log_condition,
    participation_ratio,
)
from lstmgrad._spectra.records import LyapunovSpectrum, LyapunovState
from lstmgrad._spectra.singular import (
    SingularSpectrum,
    backward_singular_spectrum,
    forward_singular_spectrum,
)
from lstmgrad._spectra.vectors import LyapunovVectors, lyapunov_vectors
from lstmgrad._tag import tag

if TYPE_CHECKING:
    from lstmgrad import diagnosis, interop, plot, report, tasks, theory, training
    from lstmgrad.diagnosis import diagnose

__version__ = "0.1.0"

# The public names, by the question that a person asks.

# Bring a model.
__all__ = [
    "Chain",
    "DenseChain",
    "DiagonalChain",
    "Model",
    "OneSidedChain",
    "StreamedChain",
    "Trajectory",
    "cells",
    "chain",
    "interop",
    "linearize",
    "linearize_diagonal",
    "linearize_one_sided",
    "stream",
    "tag",
    "unroll",
]
# How far does the gradient reach?
__all__ += [
    "FirstNonFinite",
    "Method",
    "NormMap",
    "NormProfile",
    "Scaled",
    "SwapResponse",
    "backward_norms",
    "decay_rate",
    "first_non_finite",
    "forward_norms",
    "half_life",
    "horizon",
    "input_norms",
    "jacobian",
    "matrix_free_norms",
    "norm_map",
    "prefix_products",
    "product",
    "pull_back",
    "push_forward",
    "scaled",
    "swap_response",
    "unit_norms",
]
# Through what did it come?
__all__ += [
    "GainBudget",
    "LayerFactors",
    "RouteShares",
    "gain_budget",
    "layer_factors",
    "route_shares",
    "routes",
    "tagged_values",
]
# What does each step add to the weights?
__all__ += [
    "ContributionMap",
    "Contributions",
    "Saliency",
    "Sensitivity",
    "SignalToNoise",
    "TruncationBias",
    "adjoint",
    "contribution_map",
    "contributions",
    "loss_cotangents",
    "pascanu_regularizer",
    "saliency",
    "sensitivity",
    "signal_to_noise",
    "truncation_bias",
    "truncation_length",
]
# How many directions survive?
__all__ += [
    "FisherMemory",
    "LyapunovSpectrum",
    "LyapunovState",
    "LyapunovVectors",
    "SingularSpectrum",
    "backward_singular_spectrum",
    "covariant_angles",
    "effective_rank",
    "entropy_rate",
    "fisher_memory",
    "forward_singular_spectrum",
    "isometry_distance",
    "kaplan_yorke_dimension",
    "log_abs_det",
    "log_condition",
    "lyapunov_spectrum",
    "lyapunov_vectors",
    "participation_ratio",
    "step_eigenvalues",
    "theory",
]
# Is it chaotic, and can it be evaluated in parallel?
__all__ += [
    "FixedPoints",
    "ForcingInterval",
    "Growth",
    "NewtonIterations",
    "NewtonRun",
    "fixed_points",
    "forcing_interval",
    "forcing_strength",
    "newton_iterations",
    "newton_unroll",
]
# What is wrong, and what helps?
__all__ += [
    "diagnose",
    "diagnosis",
]
# Train it.
__all__ += [
    "tasks",
    "training",
]
# See and keep it.
__all__ += [
    "BatchSummary",
    "Estimate",
    "__version__",
    "batch_summary",
    "estimate",
    "load",
    "plot",
    "report",
    "resume",
    "save",
    "summary",
]


def __getattr__(name: str) -> Any:
    """Imports on first use what costs time: other frameworks, Optax, matplotlib, SciPy."""
    if name == "diagnose":
        return importlib.import_module("lstmgrad.diagnosis").diagnose
    if name in ("diagnosis", "interop", "plot", "report", "tasks", "theory", "training"):
        return importlib.import_module(f"lstmgrad.{name}")
    raise AttributeError(f"module 'lstmgrad' has no attribute {name!r}")


def _picture(result: Any) -> bytes | None:
    """A small picture of a result in a notebook, for which matplotlib is imported on first use."""
    return importlib.import_module("lstmgrad.plot._thumbnail").thumbnail(result)


# Results are below what draws them, and the face knows both.
_result.Result._picture = staticmethod(_picture)


def __dir__() -> list[str]:
    """The public names alone."""
    return sorted(__all__)
