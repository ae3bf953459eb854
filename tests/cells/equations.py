"""What every cell is held against: the equations of its paper in NumPy, and what follows from them.

A new cell adds one function of its own name here. It takes the parameters, the state and one input
as NumPy arrays, and returns the parts of the next state.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from hand import sigmoid
from registry import H


class Oracle(NamedTuple):
    """What is known of a cell without running it.

    Attributes:
        equation: ``equation(params, state, x) -> [part, ...]``, in NumPy.
        routes: the tags of the step.
        at_zero: the step Jacobian where all parameters, the state and the input are zero: all gates
            are 1/2 and all slopes of tanh 1. None where it is not known in closed form.
        options: what the constructor gets besides the sizes.
        image: the shape of an input behind (D,).
    """

    equation: Callable[[Any, Any, np.ndarray], list[np.ndarray]]
    routes: list[str]
    at_zero: Any
    options: dict[str, Any]
    image: tuple[int, ...]


ORACLES: dict[str, Oracle] = {}


def oracle(
    routes: str,
    *,
    at_zero: Any = None,
    options: dict[str, Any] | None = None,
    image: tuple[int, ...] = (),
) -> Callable[[Callable[..., list[np.ndarray]]], Callable[..., list[np.ndarray]]]:
    """Enters the equation into `ORACLES` under its name."""

    def enter(equation):
        name = equation.__name__
        ORACLES[name] = Oracle(equation, routes.split(), at_zero, options or {}, image)
        return equation

    return enter


# The constants of the coRNN.
STEP, GAMMA, EPSILON = 0.042, 2.7, 4.7


@oracle("recurrent")
def rnn(p, s, x):
    return [np.tanh(p.weight_ih @ x + p.weight_hh @ s.h + p.bias)]


@oracle("recurrent carry", at_zero=0.9 * np.eye(H))
def leaky_rnn(p, s, x):
    return [0.9 * s.h + 0.1 * rnn(p, s, x)[0]]


@oracle("recurrent carry", at_zero=np.eye(H))
def residual_rnn(p, s, x):
    return [s.h + rnn(p, s, x)[0]]


@oracle("carry recurrent", at_zero=(1 - 0.1 * 0.01) * np.eye(H))
def antisymmetric_rnn(p, s, x):
    W = p.weight_hh - p.weight_hh.T - 0.01 * np.eye(H)
    return [s.h + 0.1 * np.tanh(W @ s.h + p.weight_ih @ x + p.bias)]


@oracle("recurrent", at_zero=np.eye(H))
def orthogonal_rnn(p, s, x):
    A, eye = (p.weight_hh - p.weight_hh.T) / 2, np.eye(H)
    Q = np.linalg.inv(eye + A) @ (eye - A)
    y = p.weight_ih @ x + Q @ s.h
    return [np.sign(y) * np.maximum(np.abs(y) + p.bias, 0)]


@oracle(
    "recurrent position velocity",
    at_zero=np.kron(
        [[1 - STEP**2 * GAMMA, STEP * (1 - STEP * EPSILON)], [-STEP * GAMMA, 1 - STEP * EPSILON]],
        np.eye(H),
    ),
)
def co_rnn(p, s, x):
    drive = np.tanh(p.weight_hh @ s.h + p.weight_zh @ s.z + p.weight_ih @ x + p.bias)
    z = s.z + STEP * (drive - GAMMA * s.h - EPSILON * s.z)
    return [s.h + STEP * z, z]


def gate(p, s, x, index, h=None):
    """W x + U h + b of the gate at a position of the stack."""
    rows = slice(index * H, (index + 1) * H)
    h = s.h if h is None else h
    return p.weight_ih[rows] @ x + p.weight_hh[rows] @ h + p.bias[rows]


@oracle("candidate update carry")
def gru(p, s, x):
    r, z = sigmoid(gate(p, s, x, 0)), sigmoid(gate(p, s, x, 1))
    n = np.tanh(gate(p, s, x, 2, 0 * s.h) + r * (p.weight_hh[2 * H :] @ s.h + p.bias_n))
    return [(1 - z) * n + z * s.h]


@oracle("forget candidate carry", at_zero=np.eye(H) / 2)
def mgu(p, s, x):
    f = sigmoid(gate(p, s, x, 0))
    return [(1 - f) * s.h + f * np.tanh(gate(p, s, x, 1, f * s.h))]


@oracle("carry", at_zero=np.eye(H) / 2)
def min_gru(p, s, x):
    z, n = np.split(p.weight_ih @ x + p.bias, 2)
    return [(1 - sigmoid(z)) * s.h + sigmoid(z) * n]


@oracle("carry", at_zero=np.eye(H) / 2)
def min_lstm(p, s, x):
    i, f, n = np.split(p.weight_ih @ x + p.bias, 3)
    i, f = sigmoid(i), sigmoid(f)
    return [f / (f + i) * s.h + i / (f + i) * n]


@oracle("forget cell input candidate output")
def lstm(p, s, x):
    i, f, g, o = (gate(p, s, x, index) for index in range(4))
    c = sigmoid(f) * s.c + sigmoid(i) * np.tanh(g)
    return [sigmoid(o) * np.tanh(c), c]


@oracle("input candidate cell output", at_zero=np.kron([[0, 0.5], [0, 1]], np.eye(H)))
def lstm_1997(p, s, x):
    i, g, o = (gate(p, s, x, index) for index in range(3))
    c = s.c + sigmoid(i) * np.tanh(g)
    return [sigmoid(o) * np.tanh(c), c]


@oracle("forget candidate cell output", at_zero=np.kron([[0, 0.5 / 2], [0, 0.5]], np.eye(H)))
def coupled_lstm(p, s, x):
    f, g, o = (gate(p, s, x, index) for index in range(3))
    i = 1 - sigmoid(f)
    c = (1 - i) * s.c + i * np.tanh(g)
    return [sigmoid(o) * np.tanh(c), c]


@oracle("input forget cell candidate output", at_zero=np.kron([[0, 0.5 / 2], [0, 0.5]], np.eye(H)))
def peephole_lstm(p, s, x):
    i, f, g, o = (gate(p, s, x, index) for index in range(4))
    i, f = sigmoid(i + p.weight_ch[0] * s.c), sigmoid(f + p.weight_ch[1] * s.c)
    c = f * s.c + i * np.tanh(g)
    return [sigmoid(o + p.weight_ch[2] * c) * np.tanh(c), c]


@oracle("input forget cell candidate output", options={"space": (3,)}, image=(3,))
def conv_lstm(p, s, x):
    """Pixel by pixel, with the neighbors on both sides, and zeros beyond the border."""

    def pixel(index, at):
        rows, total = slice(index * H, (index + 1) * H), p.bias[index * H : (index + 1) * H]
        for offset in (-1, 0, 1):
            if 0 <= at + offset < x.shape[1]:
                total = total + p.weight_ih[rows, :, offset + 1] @ x[:, at + offset]
                total = total + p.weight_hh[rows, :, offset + 1] @ s.h[:, at + offset]
        return total

    drives = [np.stack([pixel(index, at) for at in range(3)], axis=1) for index in range(4)]
    i, f = (sigmoid(drives[index] + p.weight_ch[index] * s.c) for index in range(2))
    c = f * s.c + i * np.tanh(drives[2])
    return [sigmoid(drives[3] + p.weight_ch[2] * c) * np.tanh(c), c]


@oracle("input forget cell candidate normalizer output")
def slstm(p, s, x):
    """Without stabilizer, and back into its gauge."""
    i, f, z, o = (gate(p, s, x, index) for index in range(4))
    C = sigmoid(f) * np.exp(s.m) * s.c + np.exp(i) * np.tanh(z)
    N = sigmoid(f) * np.exp(s.m) * s.n + np.exp(i)
    m = np.maximum(np.log(sigmoid(f)) + s.m, i)
    return [sigmoid(o) * C / N, C * np.exp(-m), N * np.exp(-m), m]


@oracle("cell normalizer")
def mlstm(p, s, x):
    """Without stabilizer, and back into its gauge."""
    q, k, v, o = np.split(p.weight_ih @ x + p.bias, 4)
    k = k / np.sqrt(H)
    i, f = p.weight_gates @ x + p.bias_gates
    C = sigmoid(f) * np.exp(s.m) * s.c + np.exp(i) * v[:, None] * k[None, :]
    N = sigmoid(f) * np.exp(s.m) * s.n + np.exp(i) * k
    m = max(np.log(sigmoid(f)) + s.m, i)
    h = sigmoid(o) * (C @ q) / max(abs(N @ q), 1)
    return [h, C * np.exp(-m), N * np.exp(-m), m]


@oracle("carry")
def lru(p, s, x):
    eigenvalues = np.exp(-np.exp(p.nu_log)) * np.exp(1j * np.exp(p.theta_log))
    B = p.weight_re + 1j * p.weight_im
    return [eigenvalues * s.h + np.exp(p.gamma_log) * (B @ x)]


@oracle("carry", at_zero=np.eye(H) / 2**4)
def rg_lru(p, s, x):
    u = p.weight_ih @ x + p.bias
    r, i = np.split(sigmoid(p.weight_gates @ u + p.bias_gates), 2)
    a = sigmoid(p.decay) ** (8 * r)
    return [a * s.h + np.sqrt(1 - a**2) * (i * u)]


@oracle("carry", at_zero=np.eye(2 * H) / 2, options={"state_size": 2})
def selective_ssm(p, s, x):
    u = p.weight_ih @ x + p.bias
    delta = np.log1p(np.exp(p.weight_delta @ u + p.bias_delta))
    B, A = p.weight_b @ u, -np.exp(p.a_log)
    h = np.zeros_like(s.h)
    for channel in range(H):
        for j in range(A.shape[1]):
            left = np.exp(delta[channel] * A[channel, j])
            written = (left - 1) / A[channel, j] * B[j] * u[channel]
            h[channel, j] = left * s.h[channel, j] + written
    return [h]
