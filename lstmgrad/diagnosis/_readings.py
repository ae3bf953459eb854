"""All that the rules read, in one compiled program: numbers of every sequence of a batch."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._chains.base import StoredChain, check_stored, identity_rows, known_run
from lstmgrad._chains.layers import top_part
from lstmgrad._chains.layout import Layout
from lstmgrad._chains.sweeps import read_nothing, sweep_backward
from lstmgrad._gradients.adjoint import flat_cotangents, pull_cotangents
from lstmgrad._gradients.contributions import Contributions, contributions
from lstmgrad._norms.profiles import backward_norms
from lstmgrad._norms.records import NormProfile
from lstmgrad._numeric import lapack
from lstmgrad._numeric.scaled import Scaled, scaled, widen
from lstmgrad._responses.finite import FirstNonFinite, first_non_finite
from lstmgrad._routes.additive import additive_paths, tags_of
from lstmgrad._routes.values import tagged_values
from lstmgrad._spectra.lyapunov import lyapunov_spectrum
from lstmgrad._spectra.records import LyapunovSpectrum
from lstmgrad._types import State
from lstmgrad.cells import RNNParams
from lstmgrad.diagnosis._gradients import (
    Gradients,
    directions_of,
    early_part,
    log_of_residuals,
    stride_of,
    tails_of,
)

WIDEST_SPECTRUM = 256
"""The largest state whose singular values are read."""


class Readings(NamedTuple):
    """Numbers of every sequence, with sequences on axis 0.

    Attributes:
        finite: where states and step Jacobians stop being finite.
        norms: ‖∂s_T/∂s_k‖ by lag of the whole "state", and of its "c" where it has one.
        paths: the same through the additive path alone, by the part that it is the path of: "c" or
            "h", with the layer behind it in a stack; empty where the step marks none.
        values: tagged values by name, (N, T, _).
        contributions: what each step adds to the gradient.
        tails: (N, L), ln ‖g_l‖/‖g‖ by l = 0, stride, 2·stride, ...
        stride: the lags between two tails.
        gradients: `Gradients`.
        exponents: the leading Lyapunov exponent.
        spectrum: (N, m), singular values of ∂h_T/∂s_{T-lag} over the largest, to the rounding of
            its dtype; None for large states.
        slopes: (N,), the slope of tanh(c_t) where the loss looks, weighted with the square of what
            it asks for, in the top layer of a stack; None where h is not o ⊙ tanh(c).
        step_gains: (N, T), ln ‖J_t‖²_F/n, the growth of the square of a random direction; None but
            for a plain network.
        asked: (N, h), what the loss asks of each unit, (∂L/∂h_t)² summed over time, over its sum;
            None where there are no slopes.

    Example:
        >>> batch = jnp.stack([inputs, -inputs])
        >>> found = lg.diagnose(jax.vmap(lambda one: lg.chain(model, one))(batch), lag=5)
        >>> found.readings.tails.shape[0], found.readings.norms["c"].log_norms.shape
        (2, (2, 7))
    """

    finite: FirstNonFinite
    norms: dict[str, NormProfile]
    paths: dict[str, NormProfile]
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

    @property
    def path(self) -> NormProfile | None:
        """The norms through the additive path of a single cell; None for stacks, or without one."""
        return next(iter(self.paths.values())) if len(self.paths) == 1 else None


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
    stride = 1 if last_only else stride_of(lag, length)
    nothing: Any = None  # until all sequences are there

    def of_sequence(chain: StoredChain, flat: Array) -> tuple[Readings, Scaled]:
        rows = pull_cotangents(chain, flat)
        added = contributions(chain, flat)
        rows = Scaled(rows.mantissa[1:], rows.exponent[1:])
        if last_only:
            tails, both = log_of_residuals(added.residuals), early_part(chain, rows, length - lag)
        else:
            tails, both = tails_of(chain, rows, lag, stride)
        slope, asked = _slope(chain, flat)
        found = Readings(
            finite=first_non_finite(chain),
            norms=_norms(chain),
            paths=_paths(chain),
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
    return found._replace(stride=stride, gradients=directions_of(both))


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


def _paths(chain: StoredChain) -> dict[str, NormProfile]:
    return {
        part: backward_norms(route, of=part, wrt=part)
        for part, route in additive_paths(chain).items()
    }


def _values(chain: StoredChain) -> dict[str, Array]:
    return tagged_values(chain) if tags_of(chain) else {}


def _spectrum(chain: StoredChain, lag: int) -> Float[Array, " m"] | None:
    """Singular values of ∂h_T/∂s_{T-lag} over the largest; those below its rounding are noise."""
    if chain.layout.size > WIDEST_SPECTRUM:
        return None
    block = chain.layout.block("h" if "h" in chain.layout.parts else None, "part")
    rows = scaled(identity_rows(chain)[block])
    stretch = check_stored(chain[len(chain) - lag :])
    ((_, rows), _), _ = sweep_backward(stretch, rows, read_nothing, None, every=lag)
    values = lapack.singular_values(widen(rows.mantissa))  # one sequence at a time
    return values / jnp.where(values[0] > 0, values[0], 1)


def _slope(chain: StoredChain, flat: Array) -> tuple[Array, Array] | tuple[None, None]:
    """1 - tanh² of the cell weighted with (∂L/∂h_t)², where h = o ⊙ tanh(c); and these weights."""
    layout = chain.layout
    sizes, tagged = layout.part_sizes(), set(tags_of(chain))
    h, c, n = (top_part(sizes, letter) for letter in "hcn")
    if not {"cell", "output"} <= tagged or h is None or c is None or n is not None:
        return None, None
    if h[1:] != c[1:] or sizes[h] != sizes[c]:  # the top layer is of another kind
        return None, None
    states = jax.vmap(layout.ravel)(chain.trajectory.states)
    cell, asked = states[:, layout.block(c, "part")], flat[:, layout.block(h, "part")]
    squares = (asked / jnp.max(jnp.abs(asked))) ** 2
    weights = squares / jnp.sum(squares)
    slope = 1 - jnp.tanh(cell) ** 2
    return jnp.sum(weights * slope), jnp.sum(weights, axis=0)


def _step_gains(chain: StoredChain) -> Array | None:
    _, params = known_run(chain).step.parts()
    if not isinstance(params, RNNParams) or tags_of(chain) != ["recurrent"]:
        return None  # what is kept beside the recurrent weights is no gain of theirs
    unit = jnp.eye(chain.layout.size, dtype=chain.layout.dtype)

    def gain(factor: Any) -> Array:
        moved = chain.push(factor, unit)
        return jnp.log(jnp.sum(moved**2) / chain.layout.size)

    return jax.lax.map(gain, chain.factors)


def random_readout(layout: Layout, length: int, count: int) -> Float[Array, "N times n"]:
    """Returns the cotangents of a linear readout of the last h, the same for all sequences.

    In a stack it is the h of the top layer; without an h, the whole state.

    Args:
        layout: of the states.
        length: T.
        count: N.
    """
    block = layout.block(top_part(layout.parts, "h"), "part")
    size = block.stop - block.start
    weights = jax.random.normal(jax.random.key(0), (size,), layout.dtype)
    weights = weights / jnp.linalg.norm(weights)
    flat = jnp.zeros((length + 1, layout.size), layout.dtype).at[-1, block].set(weights)
    return jnp.broadcast_to(flat, (count, *flat.shape))
