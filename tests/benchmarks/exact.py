"""The LSTM's Jacobian by hand, in NumPy: the reference in float64, and a rival in float32.

With i, f, g, o the gates of step t, c' = f ⊙ c + i ⊙ g and h' = o ⊙ tanh c', a tangent goes forward

    a = W_hh dh,   dc' = f ⊙ dc + i(1-i)g ⊙ a_i + f(1-f)c ⊙ a_f + (1-g²)i ⊙ a_g,
    dh' = o(1 - tanh² c') ⊙ dc' + o(1-o) tanh c' ⊙ a_o,

and rows are pulled back by the transpose of that.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np


class Derivatives(NamedTuple):
    """The derivatives of T steps, (T, h) each, in the letters of the formulas above.

    Attributes:
        keep: ∂c'/∂c, the forget gate.
        cell_i: ∂c'/∂a_i.
        cell_f: ∂c'/∂a_f.
        cell_g: ∂c'/∂a_g.
        bend: ∂h'/∂c'.
        out: ∂h'/∂a_o.
    """

    keep: np.ndarray
    cell_i: np.ndarray
    cell_f: np.ndarray
    cell_g: np.ndarray
    bend: np.ndarray
    out: np.ndarray


def derivatives(params: Any, states: Any, inputs: Any, dtype: Any) -> Derivatives:
    """The derivatives along given states.

    Args:
        params: the weights of the LSTM.
        states: h and c at the start of each step, (T, h).
        inputs: (T, d).
        dtype: to compute in.
    """
    hidden, cell = (np.asarray(leaf, dtype) for leaf in (states.h, states.c))
    weight_ih, weight_hh, bias = (np.asarray(leaf, dtype) for leaf in params)
    drive = np.asarray(inputs, dtype) @ weight_ih.T + hidden @ weight_hh.T + bias
    a_i, a_f, a_g, a_o = np.split(drive, 4, axis=1)
    one = dtype(1)
    i, f, o = (one / (one + np.exp(-a)) for a in (a_i, a_f, a_o))
    g = np.tanh(a_g)
    bent = np.tanh(f * cell + i * g)
    return Derivatives(
        keep=f,
        cell_i=i * (one - i) * g,
        cell_f=f * (one - f) * cell,
        cell_g=(one - g * g) * i,
        bend=o * (one - bent * bent),
        out=o * (one - o) * bent,
    )


def pulled_log_norms(problem: Any, lags: Sequence[int], dtype: Any = np.float64) -> np.ndarray:
    """Ln ‖∂c_T/∂c_{T-lag}‖₂ by a pull of rows from step to step, and an SVD for each lag.

    Args:
        problem: a `rivals.Problem`.
        lags: increasing, from 1 on.
        dtype: to compute in.
    """
    steps = max(lags)
    states = type(problem.start)(*(leaf[-1 - steps : -1] for leaf in problem.states))
    jac = derivatives(problem.params, states, problem.inputs[-steps:], dtype)
    weight = np.asarray(problem.params.weight_hh, dtype)
    size, wanted, log_scale, log_norms = weight.shape[1], set(lags), 0.0, []
    hidden, cell = np.zeros((size, size), dtype), np.eye(size, dtype=dtype)
    for lag in range(1, steps + 1):
        t = steps - lag
        both = cell + hidden * jac.bend[t]
        drive = np.concatenate(
            [both * jac.cell_i[t], both * jac.cell_f[t], both * jac.cell_g[t], hidden * jac.out[t]],
            axis=1,
        )
        hidden, cell = drive @ weight, both * jac.keep[t]
        top = np.abs(cell).max()
        hidden, cell, log_scale = hidden / top, cell / top, log_scale + np.log(top)
        if lag in wanted:
            log_norms.append(log_scale + np.log(np.linalg.svd(cell, compute_uv=False)[0]))
    return np.asarray(log_norms)


def pushed_log_norm(params: Any, stretches: Iterable[tuple[Any, Any]]) -> float:
    """Ln ‖∂c_T/∂c_0‖₂ in float64 by a push through a sequence that comes in stretches.

    Args:
        params: the weights of the LSTM.
        stretches: (states at the start of each step, inputs), one stretch after another.
    """
    weight = np.asarray(params.weight_hh, np.float64)
    size, log_scale = weight.shape[1], 0.0
    w_i, w_f, w_g, w_o = np.split(weight, 4)
    hidden, cell = np.zeros((size, size)), np.eye(size)
    for states, inputs in stretches:
        jac = derivatives(params, states, inputs, np.float64)
        keep, a_i, a_f, a_g, bend, out = (leaf[:, :, None] for leaf in jac)
        for t in range(len(keep)):
            carried = (a_i[t] * w_i + a_f[t] * w_f + a_g[t] * w_g) @ hidden
            cell = keep[t] * cell + carried
            hidden = bend[t] * cell + out[t] * (w_o @ hidden)
            if t % 16 == 0:
                top = np.abs(cell).max()
                hidden, cell, log_scale = hidden / top, cell / top, log_scale + np.log(top)
    return float(log_scale + np.log(np.linalg.svd(cell, compute_uv=False)[0]))
