"""What became of the gradient in depth: two tables, a sentence, a figure, a file of all numbers."""

from typing import Any

import numpy as np

from lstmgrad.cli._shared.console import ends, log10, power, rounded, scientific
from lstmgrad.cli._shared.json import NONFINITE, floats
from lstmgrad.cli.depth._study import Factors, Study

_LEFT_OUT = "  ...{:6} more layers; depth.json has all"


def tables(study: Study) -> list[str]:
    """Returns the lines of both tables."""
    return [*_factor_table(study), "", *_gradient_table(study)]


def reading(study: Study) -> str:
    """Returns a sentence that says what the tables show, whatever that is."""
    arrives, bound, residual = (
        power(float(log10(kind.log_states[0] - kind.log_states[-1])))
        for kind in study.kinds.values()
    )
    return (
        f"The plain stack passes {arrives} of the gradient at its output on to its input, where "
        f"the product of largest slope and sigma_max over the layers allows {bound}; "
        f"residual layers with the same weights pass on {residual}."
    )


def figure(study: Study) -> Any:
    """Returns the figure: the gradients by layer, and the gain budget of the plain stack."""
    from lstmgrad import plot
    from lstmgrad.plot._curves import draw_curve

    layers = np.arange(1, study.depth + 1)

    def norms(ax) -> None:
        for label, kind in study.kinds.items():
            values = log10(kind.log_weights)[None]
            draw_curve(ax, layers, values, label, {}, marker="o", markersize=3)
        ax.set(xlabel="layer $l$", ylabel=r"$\log_{10}\,\Vert dL/dW_l\Vert$")
        ax.legend()

    def factors(ax) -> None:
        plot.gain_budget(study.budget, names={"branch": "slope", "state": "weights"}, ax=ax)
        ax.set(xlabel="layer $l$", ylabel=r"gain in layer $l$ ($\log_{10}$)")

    return plot.page([norms, factors], height=2.5)


def record(study: Study) -> dict[str, Any]:
    """Returns the entries of depth.json."""
    return {
        **study.settings,
        "units": {
            "factors": "natural logarithms, three per layer, which add up to log_norm",
            "log_norm_of_matrix": "ln of the spectral norm of the product of the Jacobians",
            "gradients": "log10 of norms: weights, dL/dW_l for l = 1, ..., L; states, "
            "dL/dh_l for l = 0, ..., L",
        },
        "nonfinite": NONFINITE,
        "factors": {"one": _entries(study.one), "all": _entries(study.all)},
        "gradients": {
            name: {
                "weights": log10(kind.log_weights).tolist(),
                "states": log10(kind.log_states).tolist(),
            }
            for name, kind in study.kinds.items()
        },
    }


def _factor_table(study: Study) -> list[str]:
    """The factors, three per layer."""
    lines = [
        "Factors of the spectral norm of the Jacobian, along its top singular vector:",
        "slope of the activation, sigma_max of the weights, their alignment (at most 1)",
        "layer       slope   sigma_max   alignment     product",
    ]
    for factors in [study.one, study.all][: study.depth]:
        layers = factors.layers
        logs = np.stack([layers.log_slopes, layers.log_weights, layers.log_alignments])
        logs = np.concatenate([logs, logs.sum(axis=0)[None]]).astype(np.float64)
        count = logs.shape[1]
        lines.append(f"{count} layer{'s' if count > 1 else ''}, {3 * count} factors:")
        rows = [
            f"{layer + 1:5}" + "".join(f"{value:12.4f}" for value in np.exp(logs[:, layer]))
            for layer in range(count)
        ]
        lines += ends(rows, _LEFT_OUT)
        products = "".join(f"{scientific(value):>12}" for value in log10(logs.sum(axis=1)))
        norm = f"{scientific(float(log10(factors.log_norm))):>12} by SVD of the matrix"
        lines += [f"  all{products}", f"{f'norm of dh_{count}/dh_0':>41}{norm}"]
    return lines


def _gradient_table(study: Study) -> list[str]:
    """The gradients, with a row for every layer."""
    columns = [log10(kind.log_weights) for kind in study.kinds.values()]
    columns += [log10(kind.log_states[:-1]) for kind in study.kinds.values()]
    rows = [
        f"{layer + 1:5}" + "".join(f"{rounded(column[layer], 2):>12}" for column in columns)
        for layer in range(study.depth)
    ]
    return [
        "log10 of the norm of the gradient of the loss, with the bound of the plain stack",
        "       with respect to the layer's weights   with respect to the layer's input",
        "layer" + "".join(f"{name:>12}" for name in study.kinds) * 2,
        *ends(rows, _LEFT_OUT),
    ]


def _entries(factors: Factors) -> dict[str, Any]:
    layers = factors.layers
    return {
        "slopes": floats(layers.log_slopes),
        "weights": floats(layers.log_weights),
        "alignments": floats(layers.log_alignments),
        "log_norm": float(layers.log_norm),
        "log_norm_of_matrix": float(factors.log_norm),
    }
