"""What became of the gradient in depth: two tables, a few sentences, and a file with all of it."""

import math
from typing import Any, NamedTuple

import jax
import numpy as np

import lstmgrad as lg
from lstmgrad.cli._shared.console import power, rounded, scientific
from lstmgrad.cli._shared.json import NONFINITE, header, json_file
from lstmgrad.cli.depth._options import DepthOptions

ENDS = 12
"""Of a deeper stack the tables have this many layers from the first and from the last on."""

Values = jax.Array | np.ndarray
"""Traced inside the analysis, NumPy's outside of it."""


class Gradients(NamedTuple):
    """Natural logarithms of the norms of the gradient of the loss.

    Attributes:
        log_weights: (L,), ‖dL/dW_l‖ at l-1, Frobenius.
        log_states: (L+1,), ‖dL/dh_l‖ at l.
    """

    log_weights: Values
    log_states: Values


class DepthStudy(NamedTuple):
    """Everything that was measured.

    Attributes:
        one: the factors of dh_1/dh_0.
        all: the factors of dh_L/dh_0.
        log_norm_one: ln ‖dh_1/dh_0‖₂, from the matrix itself.
        log_norm_all: ln ‖dh_L/dh_0‖₂, from the product of the matrices.
        plain: the gradients in plain layers.
        residual: the gradients in residual layers.
        bounds: what the gradients in plain layers cannot exceed.
        budget: of dh_L/dh_0, for the figure.
    """

    one: lg.LayerFactors
    all: lg.LayerFactors
    log_norm_one: Values
    log_norm_all: Values
    plain: Gradients
    residual: Gradients
    bounds: Gradients
    budget: lg.GainBudget

    @property
    def depth(self) -> int:
        """L, how many layers."""
        return len(self.plain.log_weights)


def factor_table(study: DepthStudy) -> list[str]:
    """The lines of the table of factors, three a layer.

    Args:
        study: what was measured.
    """
    lines = [
        "Factors of the spectral norm of the Jacobian, along its top singular vector:",
        "slope of the activation, sigma_max of the weights, their alignment (at most 1)",
        "layer       slope   sigma_max   alignment     product",
    ]
    parts = [(study.one, study.log_norm_one)]
    if study.depth > 1:
        parts.append((study.all, study.log_norm_all))
    for factors, log_norm in parts:
        logs = np.stack([factors.log_slopes, factors.log_weights, factors.log_alignments])
        logs = np.concatenate([logs, logs.sum(axis=0)[None]]).astype(np.float64)
        count = logs.shape[1]
        lines.append(f"{count} layer{'s' if count > 1 else ''}, {3 * count} factors:")
        rows = [
            f"{layer + 1:5}" + "".join(f"{value:12.4f}" for value in np.exp(logs[:, layer]))
            for layer in range(count)
        ]
        lines += _ends(rows)
        products = "".join(f"{scientific(value):>12}" for value in _log10(logs.sum(axis=1)))
        norm = f"{scientific(float(log_norm) / math.log(10)):>12} by SVD of the matrix"
        lines += [f"  all{products}", f"{f'norm of dh_{count}/dh_0':>41}{norm}"]
    return [*lines, ""]


def gradient_table(study: DepthStudy) -> list[str]:
    """The lines of the table of gradients, a row for every layer.

    Args:
        study: what was measured.
    """
    kinds = (study.plain, study.bounds, study.residual)
    columns = [_log10(kind.log_weights) for kind in kinds]
    columns += [_log10(kind.log_states[:-1]) for kind in kinds]
    rows = [
        f"{layer + 1:5}" + "".join(f"{rounded(column[layer], 2):>12}" for column in columns)
        for layer in range(study.depth)
    ]
    return [
        "log10 of the norm of the gradient of the loss, with the bound of the plain stack",
        "       with respect to the layer's weights   with respect to the layer's input",
        "layer" + f"{'plain':>12}{'bound':>12}{'residual':>12}" * 2,
        *_ends(rows),
        "",
    ]


def depth_reading(study: DepthStudy) -> str:
    """What the tables show, whatever that is.

    Args:
        study: what was measured.
    """
    arrives, bound, residual = (
        power(float(kind.log_states[0] - kind.log_states[-1]) / math.log(10))
        for kind in (study.plain, study.bounds, study.residual)
    )
    return (
        f"Of the gradient at the output {arrives} arrives at the input of the plain stack, where "
        f"the product of largest slope and sigma_max over the layers allows {bound}; "
        f"in residual layers with the same weights it is {residual}."
    )


def depth_file(study: DepthStudy, options: DepthOptions) -> bytes:
    """The content of depth.json, strict JSON.

    Args:
        study: what was measured.
        options: what the user asked for.
    """
    gradients = {"plain": study.plain, "bound": study.bounds, "residual": study.residual}
    return json_file(
        {
            **header("lstmgrad depth"),
            "layers": options.layers,
            "width": options.width,
            "activation": options.activation,
            "seed": options.seed,
            "dtype": options.dtype,
            "units": {
                "factors": "natural logarithms, three a layer, which add up to log_norm",
                "log_norm_of_matrix": "ln of the spectral norm of the product of the Jacobians",
                "gradients": "log10 of norms: weights, dL/dW_l for l = 1, ..., L; states, "
                "dL/dh_l for l = 0, ..., L",
            },
            "nonfinite": NONFINITE,
            "factors": {
                "one": _factors(study.one, study.log_norm_one),
                "all": _factors(study.all, study.log_norm_all),
            },
            "gradients": {
                name: {
                    "weights": _log10(kind.log_weights).tolist(),
                    "states": _log10(kind.log_states).tolist(),
                }
                for name, kind in gradients.items()
            },
            "reading": depth_reading(study),
        }
    )


def _factors(factors: lg.LayerFactors, log_norm: Values) -> dict[str, Any]:
    return {
        "slopes": np.asarray(factors.log_slopes, np.float64).tolist(),
        "weights": np.asarray(factors.log_weights, np.float64).tolist(),
        "alignments": np.asarray(factors.log_alignments, np.float64).tolist(),
        "log_norm": float(factors.log_norm),
        "log_norm_of_matrix": float(log_norm),
    }


def _log10(logs: Any) -> np.ndarray:
    return np.asarray(logs, np.float64) / math.log(10)


def _ends(rows: list[str]) -> list[str]:
    """All rows, or the first and the last ones of many."""
    left_out = len(rows) - 2 * ENDS
    if left_out <= 1:
        return rows
    note = f"  ...{left_out:6} more layers; depth.json has all"
    return [*rows[:ENDS], note, *rows[-ENDS:]]
