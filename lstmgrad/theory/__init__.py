"""Curves to draw beside a measurement: what theory says a gradient does, each with its paper.

Every function here is a formula from a paper, evaluated in float64 with SciPy's quadrature and root
finding; none looks at a chain. The docstring says where the formula holds.
"""

from lstmgrad.theory._bounds import pascanu_log_bound
from lstmgrad.theory._gates import (
    chrono_expectation,
    critical_log_decay,
    forget_bias,
    forget_half_life,
    forget_time_constant,
)
from lstmgrad.theory._mean_field import MeanField, critical_gain, mean_field
from lstmgrad.theory._products import (
    gaussian_product_errors,
    gaussian_product_exponents,
    random_tanh_exponents,
)

__all__ = [
    "MeanField",
    "chrono_expectation",
    "critical_gain",
    "critical_log_decay",
    "forget_bias",
    "forget_half_life",
    "forget_time_constant",
    "gaussian_product_errors",
    "gaussian_product_exponents",
    "mean_field",
    "pascanu_log_bound",
    "random_tanh_exponents",
]
