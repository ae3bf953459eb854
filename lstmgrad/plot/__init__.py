"""Result records to Axes: the only package that knows matplotlib.

Nothing is computed here but a logarithm's base, and, for a batch, its median and a quantile band.
The vertical axis is linear in log₁₀ of the norm, because norms go down to 1e-3000. Successive
curves on one Axes differ in dash pattern and in luminance as well as in hue, so that they can be
told apart in gray. No rcParams are set and nothing is shown; pyplot is imported only where a
figure has to be made.
"""

from lstmgrad.plot._comparison import comparison
from lstmgrad.plot._maps import norm_map
from lstmgrad.plot._norms import norms
from lstmgrad.plot._page import encode, page

__all__ = ["comparison", "encode", "norm_map", "norms", "page"]
