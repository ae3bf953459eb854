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


@oracle("carry", at_zero=np.eye(2 * H) / 2, options={"state_size": 2, "num_heads": H})
def mamba_2(p, s, x):
    u = p.weight_ih @ x + p.bias
    delta = np.log1p(np.exp(p.weight_delta @ x + p.bias_delta))
    left = np.exp(-np.exp(p.a_log) * delta)  # as many heads as channels
    return [np.diag(left) @ s.h + np.outer(delta * u, p.weight_b @ x)]


@oracle("carry", options={"state_size": 2})
def s4d(p, s, x):
    u = p.weight_ih @ x + p.bias
    h = np.zeros_like(s.h)
    for channel in range(H):
        for n in range(h.shape[1]):
            pole = -np.exp(p.decay_log[channel, n]) + 1j * p.frequency[channel, n]
            left = np.exp(np.exp(p.step_log[channel]) * pole)
            h[channel, n] = left * s.h[channel, n] + (left - 1) / pole * u[channel]
    return [h]


@oracle("carry")
def s5(p, s, x):
    pole = -np.exp(p.decay_log) + 1j * p.frequency
    left = np.exp(np.exp(p.step_log) * pole)
    return [left * s.h + (left - 1) / pole * ((p.weight_re + 1j * p.weight_im) @ x)]


@oracle("fast slow time", at_zero=np.zeros((H, H)), options={"backbone_size": 4})
def cfc(p, s, x):
    z = 1.7159 * np.tanh(2 / 3 * (p.weight_ih @ x + p.weight_hh @ s.h + p.bias))
    g, k, f = np.split(p.weight_heads @ z + p.bias_heads, 3)
    return [sigmoid(-f) * np.tanh(g) + sigmoid(f) * np.tanh(k)]


@oracle("position velocity", at_zero=np.kron([[1, 0.5], [0, 1]], np.eye(H)))
def lin_oss(p, s, x):
    """The implicit step as the solution of its linear equations, oscillator by oscillator."""
    a, time, drive = np.maximum(p.frequency, 0), sigmoid(p.time), p.weight_ih @ x
    found = [
        np.linalg.solve([[1, -dt], [dt * stiff, 1]], [h, z + dt * push])
        for stiff, dt, h, z, push in zip(a, time, s.h, s.z, drive, strict=True)
    ]
    return list(np.transpose(found))


def unit(x):
    return x / np.sqrt(x @ x + 1e-6)


def matrix_memory(at_zero):
    """The Jacobian of (h, S) where no query reads: S by itself alone."""
    return np.kron(np.diag([0.0] + H * [1.0]), np.diag(at_zero))


@oracle("carry erase", at_zero=matrix_memory(np.ones(H)))
def delta_net(p, s, x, alpha=1.0):
    y = p.weight_ih @ x
    q, k, v = np.split(y * sigmoid(y), 3)
    q, k, beta = unit(q), unit(k), sigmoid(p.weight_beta @ x)
    S = alpha * s.s @ (np.eye(H) - beta * np.outer(k, k)) + beta * np.outer(v, k)
    return [S @ q, S]


@oracle("carry erase", at_zero=matrix_memory(np.full(H, 0.5)))
def gated_delta_net(p, s, x):
    softplus = np.log1p(np.exp(p.weight_alpha @ x + p.bias_alpha))
    return delta_net(p, s, x, np.exp(-np.exp(p.a_log) * softplus))


@oracle("carry erase", at_zero=matrix_memory(np.full(H, np.exp(-np.exp(-0.5) / 2))))
def rwkv_7(p, s, x):
    r, k, v = np.split(p.weight_ih @ x, 3)
    w, a = np.split(sigmoid(p.weight_gates @ x + p.bias_gates), 2)
    kappa = k * p.removal / np.linalg.norm(k * p.removal)
    kept = np.diag(np.exp(-np.exp(-0.5) * w)) - np.outer(kappa, a * kappa)
    S = s.s @ kept + np.outer(v, k * (1 - p.replacement + a * p.replacement))
    return [S @ r, S]
