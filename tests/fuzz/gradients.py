"""What each step adds to the gradient, held against `jax.grad` through a run with its own weights.

Cells with drawn weights, inputs and losses, from vanishing to exploding, in float64. None is far in
saturation, where `jax.grad` takes 1 - tanh² from rounding and the library does not. The
kinds of chains have no meaning here, and are but the draws of the batch.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

import lstmgrad as lg

READINGS = ["contributions"]
CELLS = ("rnn", "lstm", "gru", "peephole_lstm", "mgu")
CLOSE = 1e-6
"""Nats. A norm below 1e-13 of the largest may be rounding."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A compiled program: it reads batches of draws."""

    reading: str
    cell: str
    hidden: int
    length: int


def draw_case(rng, reading: str) -> Case:
    """The shapes of one program.

    Args:
        rng: of the draw.
        reading: which.
    """
    cells = [name for name in CELLS if name in lg.cells.registry()]
    return Case(reading, str(rng.choice(cells)), int(rng.integers(1, 5)), int(rng.choice([1, 20])))


@functools.cache
def reader(case: Case):
    """The reading, and the derivatives by the weights of every step, for one draw.

    Args:
        case: which.
    """
    cell = lg.cells.registry()[case.cell](2, case.hidden)

    def read(key, scale, drive):
        parts = jax.random.split(key, 3)
        params = cell.init(parts[0])
        params = jax.tree.map(lambda leaf: leaf.astype("float64") * scale, params)
        inputs = drive * jax.random.normal(parts[1], (case.length, 2), "float64")
        state = jax.tree.map(lambda leaf: leaf.astype("float64"), cell.initial_state())
        seen = jax.random.normal(parts[2], (case.length + 1, case.hidden), "float64")

        def loss(states):
            return jnp.sum(seen * states.h)

        chain = lg.chain(lg.Model(cell.step, params, state), inputs)
        found = lg.contributions(chain, lg.loss_cotangents(loss, chain.trajectory))

        def of_copies(copies):
            def step(state, entry):
                after = cell.step(entry[0], state, entry[1])
                return after, after

            _, states = jax.lax.scan(step, state, (copies, inputs))
            first = jax.tree.map(lambda leaf: leaf[None], state)
            return loss(jax.tree.map(lambda *both: jnp.concatenate(both), first, states))

        copies = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], case.length, axis=0), params)
        truth = jax.grad(of_copies)(copies)
        return (found.log_norms, found.gradient, found.shares), truth

    return jax.jit(jax.vmap(read))


def judge_batch(case: Case, kind: str, seeds) -> list[tuple[str, float]]:
    """The verdicts of a batch, one for each seed.

    Args:
        case: the program.
        kind: no meaning here.
        seeds: of the draws.
    """
    del kind
    rngs = [np.random.default_rng(seed) for seed in seeds]
    with jax.enable_x64(True):
        keys = jax.vmap(jax.random.key)(jnp.asarray([r.integers(2**31) for r in rngs]))
        scales = jnp.asarray([10.0 ** r.uniform(-1.5, 0.3) for r in rngs])
        drives = jnp.asarray([10.0 ** r.uniform(-2, 0.3) for r in rngs])
        found, truth = jax.device_get(reader(case)(keys, scales, drives))
    verdicts = []
    for i in range(len(seeds)):
        of_draw = jax.tree.map(lambda leaf, i=i: np.asarray(leaf)[i], (found, truth))
        (log_norms, gradient, shares), by_step = of_draw
        verdicts.append(judge(log_norms, gradient, shares, by_step))
    return verdicts


def judge(log_norms, gradient, shares, truth) -> tuple[str, float]:
    """The verdict on one draw.

    Args:
        log_norms: (T,), as found.
        gradient: like the parameters, as found.
        shares: (T,), as found.
        truth: the derivatives by the weights of every step, T on axis 0.
    """
    flat = np.concatenate(
        [np.reshape(leaf, (len(log_norms), -1)) for leaf in jax.tree.leaves(truth)], axis=1
    ).astype(np.longdouble)
    norms = np.sqrt(np.sum(flat**2, axis=1))
    least = 1e-13 * np.max(norms)
    if np.any(np.isnan(log_norms)) or not np.all(np.isfinite(flat)):
        return "NaN", np.inf
    if np.any(np.isneginf(log_norms) & (norms > max(least, 1e-290))):
        return "false zero", np.inf
    with np.errstate(divide="ignore"):
        off = np.where(norms > least, np.abs(log_norms - np.log(norms)), 0.0).astype(float)
    total = np.sum(flat, axis=0)
    sums = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradient)])
    off = max(np.max(off), float(np.max(np.abs(sums - total)) / np.max(norms)))
    if np.sum(total**2) > (1e-6 * np.max(norms)) ** 2:
        off = max(off, float(np.max(np.abs(shares - flat @ total / np.sum(total**2)))) * 1e-6)
    return ("wrong", off) if off > CLOSE else ("right", 0.0)
