"""Step Jacobians derived by hand, in NumPy; truths T1 and T2."""

from typing import Any

import numpy as np


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def lstm_parts(params: Any, h: Any, c: Any, x: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(A, B, ln|det J|) of one LSTM step: J = A + B, A the pure cell path, B everything through h.

    With F = diag f, E = diag(o(1 - tanh²c')), R = diag(tanh(c') o(1-o)) U_o and
    P = diag(c f(1-f)) U_f + diag(g i(1-i)) U_i + diag(i(1-g²)) U_g,
    J = [[R + E P, E F], [P, F]] on the state [h; c].
    """
    W, U, b = (np.asarray(leaf) for leaf in params)
    i, f, g, o = np.split(W @ np.asarray(x) + U @ np.asarray(h) + b, 4)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    U_i, U_f, U_g, U_o = np.split(U, 4)
    c = np.asarray(c)
    squashed = np.tanh(f * c + i * g)
    F, E = np.diag(f), np.diag(o * (1 - squashed**2))
    R = np.diag(squashed * o * (1 - o)) @ U_o
    P = np.diag(c * f * (1 - f)) @ U_f
    P = P + np.diag(g * i * (1 - i)) @ U_i + np.diag(i * (1 - g**2)) @ U_g
    zero = np.zeros_like(F)
    A, B = np.block([[zero, E @ F], [zero, F]]), np.block([[R + E @ P, zero], [P, zero]])
    log_det = np.log(f).sum() + np.log(np.abs(squashed) * o * (1 - o)).sum()
    return A, B, log_det + np.linalg.slogdet(U_o)[1]


def lstm_jacobian(params: Any, h: Any, c: Any, x: Any) -> np.ndarray:
    A, B, _ = lstm_parts(params, h, c, x)
    return A + B


def gru_jacobian(params: Any, h: Any, x: Any) -> np.ndarray:
    """J of one reset-after GRU step.

    J = diag z + diag((h-n) z(1-z)) U_z
        + diag((1-z)(1-n²))(diag r U_n + diag((U_n h + b_n) r(1-r)) U_r)
    """
    W, U, b, b_n = (np.asarray(leaf) for leaf in params)
    h = np.asarray(h)
    r_x, z_x, n_x = np.split(W @ np.asarray(x) + b, 3)
    U_r, U_z, U_n = np.split(U, 3)
    r, z = sigmoid(r_x + U_r @ h), sigmoid(z_x + U_z @ h)
    inner = U_n @ h + b_n
    n = np.tanh(n_x + r * inner)
    through_n = np.diag(r) @ U_n + np.diag(inner * r * (1 - r)) @ U_r
    return (
        np.diag(z)
        + np.diag((h - n) * z * (1 - z)) @ U_z
        + np.diag((1 - z) * (1 - n**2)) @ through_n
    )


def rnn_jacobian(params: Any, h: Any, x: Any) -> np.ndarray:
    """J = diag(1 - tanh²(W x + U h + b)) U."""
    W, U, b = (np.asarray(leaf) for leaf in params)
    drive = W @ np.asarray(x) + U @ np.asarray(h) + b
    return np.diag(1 - np.tanh(drive) ** 2) @ U
