"""Ours, the rivals and the floor, each from a problem to a `Contender`."""

import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from exact import pulled_log_norms
from measure import Contender, seconds

import lstmgrad as lg

LIMIT = 40.0
"""A rival that would take more seconds is timed over fewer steps, and extrapolated."""

PROBE = 20
"""These many."""

CELL = lg.cells.lstm(1, 1)
STEP = CELL.step


class Problem(NamedTuple):
    """An LSTM along one trajectory of T steps.

    Attributes:
        params: its weights, float32.
        start: s_0.
        inputs: (T, d).
        states: T+1 on axis 0.
    """

    params: Any
    start: Any
    inputs: jax.Array
    states: Any

    @property
    def length(self) -> int:
        """T."""
        return self.inputs.shape[0]

    @property
    def hidden(self) -> int:
        """The number of units."""
        return self.start.c.size

    def last(self, steps: int) -> "Problem":
        """The end of the trajectory.

        Args:
            steps: how many to keep.
        """
        states = jax.tree.map(lambda leaf: leaf[-1 - steps :], self.states)
        start = jax.tree.map(lambda leaf: leaf[0], states)
        return Problem(self.params, start, self.inputs[-steps:], states)

    def chain(self) -> lg.Chain:
        """The step Jacobians."""
        return lg.linearize(STEP, self.params, lg.Trajectory(self.inputs, self.states))


def model(hidden: int, inputs: int) -> tuple[Any, Any]:
    """Weights and starting state.

    Args:
        hidden: units.
        inputs: d.
    """
    cell = lg.cells.lstm(inputs, hidden, dtype=jnp.float32)
    return cell.init(jax.random.key(0)), cell.initial_state()


def problem(hidden: int, length: int, inputs: int = 16) -> Problem:
    """A fresh LSTM driven by noise.

    Args:
        hidden: units.
        length: T.
        inputs: d.
    """
    params, start = model(hidden, inputs)
    noise = jax.random.normal(jax.random.key(1), (length, inputs), jnp.float32)
    states = lg.unroll(STEP, params, start, noise).states
    return Problem(params, start, noise, jax.block_until_ready(states))


def ours(task: Problem) -> Contender:
    """`backward_norms` of a given chain."""
    chain = task.chain()

    def run() -> lg.NormProfile:
        return lg.backward_norms(chain, of="c", wrt="c")

    def read(results: list) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(results[0].lags)[1:], np.asarray(results[0].log_norms)[1:]

    return Contender(((run, 1.0),), read)


def ours_unrolled(task: Problem) -> Contender:
    """The same from the inputs on, as the rivals do it."""

    def run() -> lg.NormProfile:
        chain = lg.chain(lg.Model(STEP, task.params, task.start), task.inputs)
        return lg.backward_norms(chain, of="c", wrt="c")

    return Contender(((run, 1.0),))


def floor(task: Problem) -> Contender:
    """T products (h x 4h) @ (4h x h), each needing the one before."""
    size = task.hidden
    weight = task.params.weight_hh
    start = jax.random.normal(jax.random.key(2), (size, 4 * size), jnp.float32)

    def products(block: jax.Array, weight: jax.Array) -> jax.Array:
        def body(block: jax.Array, _: None) -> tuple[jax.Array, None]:
            after = jnp.matmul(block, weight, precision="highest")
            # A quarter of the next operand, written in place: no product can be left out.
            return jax.lax.dynamic_update_slice(block, after * 0.25, (0, 0)), None

        return jax.lax.scan(body, block, None, length=task.length)[0]

    run = jax.jit(products).lower(start, weight).compile()
    return Contender(((lambda: run(start, weight), 1.0),))


def per_lag(task: Problem) -> Contender:
    """(a) A jacrev for each lag.

    Every lag would be compiled for its own length, which is faster than one program that masks the
    steps before k, even where these are skipped. The time is nearly linear in the lag; so a few
    lags are timed, compiled beforehand, and weighted as the interpolation of the sum weights them.
    """
    length = task.length
    lags = np.unique(np.linspace(1, length, 5 if length * task.hidden > 60_000 else 9).round())
    every = np.arange(1, length + 1)
    weights = [float(np.interp(every, lags, unit).sum()) for unit in np.eye(len(lags))]

    def norm(params: Any, start: Any, inputs: jax.Array) -> jax.Array:
        def run(cell: jax.Array) -> jax.Array:
            state = start._replace(c=cell)
            state, _ = jax.lax.scan(lambda s, x: (STEP(params, s, x), None), state, inputs)
            return state.c

        return jnp.linalg.svd(jax.jacrev(run)(start.c), compute_uv=False)[0]

    def compiled(lag: int) -> Callable[[], jax.Array]:
        end = task.last(lag)
        data = (end.params, end.start, end.inputs)
        run = jax.jit(norm).lower(*data).compile()
        return lambda: run(*data)

    parts = [(compiled(int(lag)), w) for lag, w in zip(lags, weights, strict=True)]
    return Contender(
        tuple(parts),
        lambda results: (lags.astype(int), _log(np.stack(results))),
        f"from {len(lags)} lags",
        estimated=True,
    )


def injected_norms(params: Any, start: Any, inputs: jax.Array, end: Any = None) -> jax.Array:
    """‖∂c_T/∂c_k‖₂ for all k by one jacrev with respect to zeros that are added to c_k.

    Args:
        params: the weights.
        start: s_0.
        inputs: (T, d).
        end: the norms are of ∂c_end/∂c_k; None is T.
    """

    def run(zeros: jax.Array) -> jax.Array:
        def body(state: Any, entry: tuple) -> tuple[Any, Any]:
            zero, x = entry
            state = STEP(params, state._replace(c=state.c + zero), x)
            return state, None if end is None else state.c

        state, cells = jax.lax.scan(body, start, (zeros, inputs))
        return state.c if end is None else cells[end - 1]

    jacobians = jax.jacrev(run)(jnp.zeros((inputs.shape[0], start.c.size), jnp.float32))
    return jnp.linalg.svd(jnp.moveaxis(jacobians, 1, 0), compute_uv=False)[:, 0]


def injection(task: Problem) -> Contender:
    """(b) One jacrev with respect to zeros injected at every step, and a batched SVD."""

    def build(task: Problem) -> Callable[[], jax.Array]:
        data = (task.params, task.start, task.inputs)
        run = jax.jit(lambda *data: injected_norms(*data)).lower(*data).compile()
        return lambda: run(*data)[::-1]

    return _maybe_extrapolated(task, build)


def pytorch(task: Problem) -> Contender:
    """(c) PyTorch: rows batched through autograd, and a batched SVD."""
    import torch

    device = "cuda" if jax.default_backend() == "gpu" and torch.cuda.is_available() else "cpu"
    torch.set_flush_denormal(True)

    def build(task: Problem) -> Callable[[], np.ndarray]:
        data = (*task.params, *task.start, task.inputs)
        tensors = [torch.tensor(np.asarray(leaf), device=device) for leaf in data]
        weight_ih, weight_hh, bias, start_h, start_c, inputs = tensors
        identity = torch.eye(task.hidden, device=device)

        def run() -> np.ndarray:
            drives = inputs @ weight_ih.T + bias
            hidden, cell, nodes = start_h, start_c.clone().requires_grad_(), []
            for drive in drives:
                # A node that h_k does not come from: h_k is held.
                cell = cell.clone()
                nodes.append(cell)
                i, f, g, o = (drive + weight_hh @ hidden).chunk(4)
                cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
                hidden = o.sigmoid() * cell.tanh()
            blocks = torch.autograd.grad(cell, nodes, grad_outputs=identity, is_grads_batched=True)
            norms = torch.linalg.svdvals(torch.stack(blocks))[:, 0]
            return norms.cpu().numpy()[::-1]

        return run

    return _maybe_extrapolated(task, build)


def numpy_loop(task: Problem) -> Contender:
    """(d) NumPy: hand-derived formulas, rows pulled and rescaled step by step, an SVD a lag."""

    def build(task: Problem) -> Callable[[], np.ndarray]:
        lags = range(1, task.length + 1)
        return lambda: pulled_log_norms(task, lags, np.float32)

    return _maybe_extrapolated(task, build, np.asarray)


def _maybe_extrapolated(
    task: Problem, build: Callable[[Problem], Callable[[], Any]], log: Callable | None = None
) -> Contender:
    """The whole, or where that is too long its last steps, weighted."""
    log = log or _log

    def read(results: list) -> tuple[np.ndarray, np.ndarray]:
        return np.arange(1, len(results[0]) + 1), log(results[0])

    if task.length > 5 * PROBE:
        share = task.length / PROBE
        probe = Contender(((build(task.last(PROBE)), share),), read, f"from {PROBE} steps", True)
        seconds(probe)
        # The least of three: others load the machine, nothing makes it faster than it is.
        if min(seconds(probe)[0] for _ in range(3)) > LIMIT:
            return probe
    return Contender(((build(task), 1.0),), read)


def _log(norms: Any) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(norms))


CONTENDERS: dict[str, Callable[[Problem], Contender]] = {
    "floor": floor,
    "ours": ours,
    "ours with unroll": ours_unrolled,
    "(a) jacrev per lag": per_lag,
    "(b) injection + SVD": injection,
    "(c) PyTorch + SVD": pytorch,
    "(d) NumPy loop": numpy_loop,
}


def present() -> dict[str, Callable[[Problem], Contender]]:
    """The contenders that can run here."""
    missing = importlib.util.find_spec("torch") is None
    return {
        name: build for name, build in CONTENDERS.items() if not (missing and "PyTorch" in name)
    }
