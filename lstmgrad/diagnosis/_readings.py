"""All that the rules read, in one compiled program: numbers of every sequence of a batch.

A rule looks at the gradient that comes from a lag or from beyond it. With λ^{l}_k what the losses
at t >= k + l mean to s_k, that part of the gradient is

    g_l = Σ_k λ^{l}_k ∂step_k/∂θ,      g_0 = dL/dθ.

For a loss on the last state it is what the steps up to T - l add.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._chains.base import StoredChain, check_stored, identity_rows, known_run
from lstmgrad._chains.interpret import BRANCHES, LOOPS
from lstmgrad._chains.layout import Layout, ravel
from lstmgrad._chains.sweeps import read_nothing, sweep_backward
from lstmgrad._gradients.adjoint import flat_cotangents, pull_cotangents
from lstmgrad._gradients.contributions import Contributions, contributions
from lstmgrad._gradients.local import LocalStep, differentiable
from lstmgrad._norms.profiles import backward_norms
from lstmgrad._norms.records import NormProfile
from lstmgrad._numeric.scaled import Scaled, log_of, norm_of, normalize, scaled
from lstmgrad._responses.finite import FirstNonFinite, first_non_finite
from lstmgrad._routes.routes import routes
from lstmgrad._routes.tagged import straight_tag_names
from lstmgrad._routes.values import tagged_values
from lstmgrad._spectra.lyapunov import LyapunovSpectrum, lyapunov_spectrum
from lstmgrad._types import State
from lstmgrad.cells import RNNParams

WIDEST_SPECTRUM = 256
"""The largest state whose singular values are read."""

PATHS = {"cell": "c", "carry": "h"}
"""Tags of what a step keeps of the state, and the part that it is kept of: the additive path."""


class Gradients(NamedTuple):
    """Gradients of the sequences, from all lags and from the lag asked for on, as directions.

    Attributes:
        log_norms: (N,), ln ‖g‖.
        far_log_norms: (N,), ln ‖g_lag‖.
        cosines: (N, N), between the gradients of two sequences.
        far_cosines: (N, N), between their g_lag.
        cross_cosines: (N, N), between g_lag of the first and g of the second.
    """

    log_norms: Float[Array, " N"]
    far_log_norms: Float[Array, " N"]
    cosines: Float[Array, "N N"]
    far_cosines: Float[Array, "N N"]
    cross_cosines: Float[Array, "N N"]


class Readings(NamedTuple):
    """Numbers of every sequence, with sequences on axis 0.

    Attributes:
        finite: where states and step Jacobians stop being finite.
        norms: ‖∂s_T/∂s_k‖ by lag of the whole "state", and of its "c" where it has one.
        path: the same through the additive path alone; None where the step marks none.
        values: tagged values by name, (N, T, _).
        contributions: what each step adds to the gradient.
        tails: (N, L), ln ‖g_l‖/‖g‖ by l = 0, stride, 2·stride, ...
        stride: the lags between two tails.
        gradients: `Gradients`.
        exponents: the leading Lyapunov exponent.
        spectrum: (N, m), singular values of ∂h_T/∂s_{T-lag} over the largest, to the rounding of
            its dtype; None for large states.
        slopes: (N,), the slope of tanh(c_t) where the loss looks, weighted with the square of what
            it asks for; None where h is not o ⊙ tanh(c).
        step_gains: (N, T), ln ‖J_t‖²_F/n, the growth of the square of a random direction; None but
            for a plain network.
        asked: (N, h), what the loss asks of each unit, (∂L/∂h_t)² summed over time, over its sum;
            None where there are no slopes.
    """

    finite: FirstNonFinite
    norms: dict[str, NormProfile]
    path: NormProfile | None
    values: dict[str, Float[Array, "N T _"]]
    contributions: Contributions
    tails: Float[Array, "N L"]
    stride: int
    gradients: Gradients
    exponents: LyapunovSpectrum
    spectrum: Float[Array, "N m"] | None
    slopes: Float[Array, " N"] | None
    step_gains: Float[Array, "N T"] | None
    asked: Float[Array, "N h"] | None = None


@eqx.filter_jit
def read(
    chains: StoredChain, cotangents: Float[Array, "N times n"], *, lag: int, last_only: bool
) -> Readings:
    """Returns all readings of a batch of chains.

    Args:
        chains: N on axis 0, from `jax.vmap`.
        cotangents: flat.
        lag: from 1 to T - 1.
        last_only: whether the loss looks at the last state alone.
    """
    length = jax.tree.leaves(chains.factors)[0].shape[1]
    stride = 1 if last_only else _stride(lag, length)
    nothing: Any = None  # until all sequences are there

    def of_sequence(chain: StoredChain, flat: Array) -> tuple[Readings, Scaled]:
        rows = pull_cotangents(chain, flat)
        added = contributions(chain, flat)
        rows = Scaled(rows.mantissa[1:], rows.exponent[1:])
        if last_only:
            tails, both = _log(added.residuals), _early(chain, rows, length - lag)
        else:
            tails, both = _tails(chain, rows, lag, stride)
        slope, asked = _slope(chain, flat)
        found = Readings(
            finite=first_non_finite(chain),
            norms=_norms(chain),
            path=_path(chain),
            values=_values(chain),
            contributions=added,
            tails=tails,
            stride=stride,
            gradients=nothing,
            exponents=lyapunov_spectrum(chain, num_exponents=1, burn_in=length // 4),
            spectrum=_spectrum(chain, lag),
            slopes=slope,
            asked=asked,
            step_gains=_step_gains(chain),
        )
        return found, both

    found, both = jax.vmap(of_sequence)(chains, cotangents)
    return found._replace(stride=stride, gradients=_directions(both))


def loss_is_last(cotangents: Float[Array, "N times n"]) -> bool:
    """Returns whether no state but the last one has a direct part in the loss.

    Args:
        cotangents: flat, of all sequences.
    """
    return not bool(jnp.any(cotangents[:, :-1] != 0))


def flat_of(cotangents: State, layout: Layout, length: int) -> Float[Array, "N times n"]:
    """Returns the cotangents of all sequences as flat vectors.

    Args:
        cotangents: N on axis 0 of every leaf.
        layout: of the states.
        length: T.
    """
    return jax.vmap(lambda one: flat_cotangents(one, layout, length))(cotangents)


def _norms(chain: StoredChain) -> dict[str, NormProfile]:
    sizes = chain.layout.part_sizes()
    found = {"state": backward_norms(chain)}
    if "c" in sizes and len(sizes) > 1:
        found["c"] = backward_norms(chain, of="c", wrt="c")
    return found


def _path(chain: StoredChain) -> NormProfile | None:
    names = _tags(chain)
    for tag, part in PATHS.items():
        if tag in names and part in chain.layout.parts:
            return backward_norms(routes(chain)[tag], of=part, wrt=part)
    return None


def _tags(chain: StoredChain) -> list[str]:
    run = known_run(chain)
    return straight_tag_names(*run.step.parts(), *run.example(), outside=(*LOOPS, *BRANCHES))


def _values(chain: StoredChain) -> dict[str, Array]:
    return tagged_values(chain) if _tags(chain) else {}


def _spectrum(chain: StoredChain, lag: int) -> Float[Array, " m"] | None:
    """Singular values of ∂h_T/∂s_{T-lag} over the largest; those below its rounding are noise."""
    if chain.layout.size > WIDEST_SPECTRUM:
        return None
    block = chain.layout.block("h" if "h" in chain.layout.parts else None, "part")
    rows = scaled(identity_rows(chain)[block])
    stretch = check_stored(chain[len(chain) - lag :])
    ((_, rows), _), _ = sweep_backward(stretch, rows, read_nothing, None, every=lag)
    values = jnp.linalg.svd(rows.mantissa, compute_uv=False)
    return values / jnp.where(values[0] > 0, values[0], 1)


def _slope(chain: StoredChain, flat: Array) -> tuple[Array, Array] | tuple[None, None]:
    """1 - tanh² of the cell weighted with (∂L/∂h_t)², where h = o ⊙ tanh(c); and these weights."""
    layout = chain.layout
    sizes = layout.part_sizes()
    tagged, known = set(_tags(chain)), {"h", "c"} <= set(sizes)  # a stack has h0, c0, h1, ...
    if not {"cell", "output"} <= tagged or not known or sizes["h"] != sizes["c"] or "n" in sizes:
        return None, None
    states = jax.vmap(layout.ravel)(chain.trajectory.states)
    cell, asked = states[:, layout.block("c", "part")], flat[:, layout.block("h", "part")]
    squares = (asked / jnp.max(jnp.abs(asked))) ** 2
    weights = squares / jnp.sum(squares)
    slope = 1 - jnp.tanh(cell) ** 2
    return jnp.sum(weights * slope), jnp.sum(weights, axis=0)


def _step_gains(chain: StoredChain) -> Array | None:
    _, params = known_run(chain).step.parts()
    if not isinstance(params, RNNParams) or _tags(chain) != ["recurrent"]:
        return None  # what is kept beside the recurrent weights is no gain of theirs
    unit = jnp.eye(chain.layout.size, dtype=chain.layout.dtype)

    def gain(factor: Any) -> Array:
        moved = chain.push(factor, unit)
        return jnp.log(jnp.sum(moved**2) / chain.layout.size)

    return jax.lax.map(gain, chain.factors)


def gradient_of(chain: StoredChain, rows: Scaled) -> Scaled:
    """What cotangents of s_1, ..., s_T mean to the parameters, as one flat vector.

    Args:
        chain: T factors.
        rows: (T, n), with an exponent each.
    """
    run = known_run(chain)
    step, params = run.step.parts()
    moving, fixed = differentiable(params)
    part, exponent = LocalStep(step, fixed, chain.layout).pull_all(moving, run.factors, rows)
    return normalize(Scaled(ravel(jax.tree.leaves(part), chain.layout.dtype), exponent))


def _log(residuals: Array) -> Array:
    """Their logarithm; at least that of the smallest number, where they left the range."""
    return jnp.log(jnp.maximum(residuals, jnp.finfo(residuals.dtype).tiny))


def _early(chain: StoredChain, rows: Scaled, last: int) -> Scaled:
    """The gradient, and what the steps up to s_last add to it, on axis 0.

    Args:
        chain: T factors.
        rows: dL/ds_t for t = 1..T.
        last: the last step.
    """
    early = (jnp.arange(1, len(chain) + 1) <= last)[:, None]
    masks = jnp.stack([jnp.ones_like(early), early])

    def of(mask: Array) -> Scaled:
        return gradient_of(chain, Scaled(jnp.where(mask, rows.mantissa, 0), rows.exponent))

    return jax.vmap(of)(masks)


def _tails(
    chain: StoredChain, rows: Scaled, lag: int, stride: int
) -> tuple[Float[Array, " L"], Scaled]:
    """Ln ‖g_l‖/‖g‖ for l = 0, stride, ..., and g with g_lag on axis 0."""

    def earlier(row: Scaled, factor: Any) -> Scaled:
        return normalize(Scaled(chain.pull(factor, row.mantissa[None])[0], row.exponent))

    def further(rows: Scaled, _: None) -> tuple[Scaled, None]:
        # λ of s_k from losses at k + l or later: that of s_{k+1} from k + l on, through J_{k+1}.
        later = jax.tree.map(
            lambda leaf: jnp.concatenate([leaf[1:], jnp.zeros_like(leaf[:1])]), rows
        )
        factors = jax.tree.map(lambda leaf: jnp.concatenate([leaf[1:], leaf[-1:]]), chain.factors)
        return jax.vmap(earlier)(later, factors), None

    def beyond(carry: tuple, index: Array) -> tuple[tuple, Array]:
        rows, both = carry
        found = gradient_of(chain, rows)
        here = jnp.stack([index == 0, index * stride == lag])
        both = jax.tree.map(
            lambda new, old: jnp.where(here.reshape(2, *[1] * new.ndim), new, old), found, both
        )
        rows, _ = jax.lax.scan(further, rows, length=stride)
        return (rows, both), log_of(norm_of(found.mantissa), found.exponent)

    shape = jax.eval_shape(lambda: gradient_of(chain, rows))
    both = jax.tree.map(lambda leaf: jnp.zeros((2, *leaf.shape), leaf.dtype), shape)
    count = len(chain) // stride + 1
    (_, both), logs = jax.lax.scan(beyond, (rows, both), jnp.arange(count))
    return logs - logs[0], both


def _stride(lag: int, length: int) -> int:
    """The largest divisor of the lag that leaves some sixty lags."""
    most = max(1, length // 64)
    return max(number for number in range(1, most + 1) if lag % number == 0)


def _directions(both: Scaled) -> Gradients:
    def sized(value: Scaled) -> tuple[Array, Array]:
        size = norm_of(value.mantissa)
        return log_of(size, value.exponent), value.mantissa / jnp.where(size > 0, size, 1)

    logs, vectors = jax.vmap(jax.vmap(sized))(both)
    (log_norms, far_log_norms), (units, far_units) = logs.T, jnp.swapaxes(vectors, 0, 1)

    def cosines(one: Array, other: Array) -> Array:
        return jnp.matmul(one, other.T, precision="highest")

    return Gradients(
        log_norms,
        far_log_norms,
        cosines(units, units),
        cosines(far_units, far_units),
        cosines(far_units, units),
    )


def random_readout(layout: Layout, length: int, count: int) -> Float[Array, "N times n"]:
    """Returns the cotangents of a linear readout of the last h, the same for all sequences.

    Args:
        layout: of the states.
        length: T.
        count: N.
    """
    block = layout.block("h" if "h" in layout.parts else None, "part")
    size = block.stop - block.start
    weights = jax.random.normal(jax.random.key(0), (size,), layout.dtype)
    weights = weights / jnp.linalg.norm(weights)
    flat = jnp.zeros((length + 1, layout.size), layout.dtype).at[-1, block].set(weights)
    return jnp.broadcast_to(flat, (count, *flat.shape))
