"""Results drawn on Axes: `plot.X` draws what `lg.X` returns. Only this package knows matplotlib.

Nothing is computed here except decimal logarithms, and the middle and a band of quantiles of a
batch or of a gate's units. The vertical axis is linear in log₁₀ of the norm, because norms go down
to 1e-3000.

Every function takes the result of one sequence or of a batch, with leading axes from `jax.vmap`. Of
a batch it draws the median and a band, and the legend, or the title of a figure that it makes, says
how many members there are. Members that end earlier (``length=``) count up to their own ends, one
at ±inf moves a median by its own rank at most, and one that is NaN is left out.

What the arithmetic does not resolve is drawn as such and never as zero: dotted and faint as a
curve, hatched in a map, hollow as a marker. A cross marks an exact zero.

Figures that are made here have one style, the sheet `paper.mplstyle`, at the width of a column; on
Axes of yours your own style stays, and ``with lg.plot.style():`` sets this one there, too. RNN, GRU
and LSTM, by the label of a curve, have the same color in every figure. Successive curves differ in
dash pattern and luminance as well as in hue, so that they can be told apart in gray. No rcParams
are set and nothing is shown; pyplot is imported only where a figure has to be made.
"""

from lstmgrad.plot._batch_summary import batch_summary
from lstmgrad.plot._comparison import comparison
from lstmgrad.plot._contributions import contribution_shares, contributions, truncation_bias
from lstmgrad.plot._diagnosis import Illustration, diagnosis
from lstmgrad.plot._eigenvalues import step_eigenvalues
from lstmgrad.plot._fixed_points import fixed_points
from lstmgrad.plot._half_lives import half_life
from lstmgrad.plot._lyapunov import lyapunov_convergence, lyapunov_spectrum
from lstmgrad.plot._maps import contribution_map, norm_map, saliency
from lstmgrad.plot._memories import fisher_memory, sensitivity, signal_to_noise
from lstmgrad.plot._memory import Memory, memory
from lstmgrad.plot._newton import newton_unroll
from lstmgrad.plot._norms import norms
from lstmgrad.plot._overlay import overlay
from lstmgrad.plot._page import encode, page
from lstmgrad.plot._palette import style
from lstmgrad.plot._routes import gain_budget, route_shares
from lstmgrad.plot._singular import singular_spectrum
from lstmgrad.plot._swaps import swap_response
from lstmgrad.plot._tagged_values import tagged_values
from lstmgrad.plot._training import training_curve
from lstmgrad.plot._words import words

__all__ = [
    "Illustration",
    "Memory",
    "batch_summary",
    "comparison",
    "contribution_map",
    "contribution_shares",
    "contributions",
    "diagnosis",
    "encode",
    "fisher_memory",
    "fixed_points",
    "gain_budget",
    "half_life",
    "lyapunov_convergence",
    "lyapunov_spectrum",
    "memory",
    "newton_unroll",
    "norm_map",
    "norms",
    "overlay",
    "page",
    "route_shares",
    "saliency",
    "sensitivity",
    "signal_to_noise",
    "singular_spectrum",
    "step_eigenvalues",
    "style",
    "swap_response",
    "tagged_values",
    "training_curve",
    "truncation_bias",
    "words",
]
