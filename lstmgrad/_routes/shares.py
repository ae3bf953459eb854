"""Which route the gradient took, step by step.

With u, v the top singular pair of ds_T/ds_0 (or a loss's cotangent and the direction of its
gradient), u_t = u J_T ··· J_{t+1} and v_t = J_t ··· J_1 v, every step carries the whole of it,

    u_t · J_t v_{t-1} = σ   for every t,   so   share_t^r = u_t · J_t^r v_{t-1} / σ

adds up to 1 over the routes r, by linearity. A share may be negative or above 1: routes may work
against each other.
"""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lstmgrad._chains.base import Chain, StoredChain, check_stored
from lstmgrad._chains.blocks import block_between
from lstmgrad._chains.sweeps import read_mantissa, sweep_backward, sweep_forward
from lstmgrad._checks import check_not_empty
from lstmgrad._compile import compiled
from lstmgrad._labeled import Axes
from lstmgrad._leaves import shown
from lstmgrad._numeric.scaled import log_of, scaled
from lstmgrad._result import Result
from lstmgrad._routes.end_vectors import end_vectors
from lstmgrad._types import PartName
from lstmgrad._writing import block_name, number


class RouteShares(Result):
    """What part of the gradient came through each route at each step.

    Attributes:
        shares: by route in alphabetical order, (T,), the share at step t at index t-1; they add up
            to 1.
        log_norm: ln σ, the norm of what is divided up; NaN where it lies below the range of the
            dtype beside the other parts on the path.
        of: the part of s_T, None for the whole state.
        wrt: the part of s_0, None for the whole state.

    Example:
        >>> sorted(lg.route_shares(chain, lg.routes(chain)).shares)[:2]
        ['candidate', 'cell']
    """

    shares: dict[str, Float[Array, "*batch T"]]
    log_norm: Float[Array, "*batch"]
    of: PartName | None = eqx.field(static=True)
    wrt: PartName | None = eqx.field(static=True)

    _main = ("log_norm", 0)
    _axes = Axes({"shares": "step", "log_norm": ""})

    def _subject(self) -> str:
        share = next(iter(self.shares.values()))
        return f"{block_name(self.of, self.wrt, 'T', '0')}, T = {share.shape[-1]}"

    def _headline(self) -> str:
        means = {name: np.mean(share) for name, share in self.shares.items()}
        name = max(means, key=lambda name: abs(means[name]))
        return f"ln norm {number(self.log_norm)}, mean share of {name!r} {number(means[name])}"

    def _table(self) -> tuple[list[str], list[list[str]]]:
        rows = [
            [name, *(number(reduce(share)) for reduce in (np.mean, np.min, np.max))]
            for name, share in self.shares.items()
        ]
        return ["route", "mean share", "least", "most"], rows

    def _numbers(self) -> dict[str, Any]:
        means = {f"mean_share_{name}": np.mean(share) for name, share in self.shares.items()}
        return {"log_norm": self.log_norm, **means}


@compiled
def route_shares(
    chain: Chain,
    routes: Mapping[str, Chain],
    cotangent: Float[Array, " n"] | None = None,
    *,
    of: PartName | None = None,
    wrt: PartName | None = None,
) -> RouteShares:
    """Returns the share of each route in the gradient, at every step.

    Args:
        chain: T factors that can be pulled back (not a stream).
        routes: chains that add up to it, as `routes` gives them, of the same stretch of time.
        cotangent: (n,), the gradient of a loss with respect to the flat s_T; None takes the top
            left singular vector of the (of, wrt) block.
        of: the part of s_T; None is the whole state.
        wrt: the part of s_0; None is the whole state.

    Returns:
        `RouteShares`. All shares are NaN where the norm is exactly zero: there is nothing to share.

    Raises:
        ValueError: no routes, or a route of another length or state; a cotangent of the wrong
            shape or dtype; an unknown part; a stream.

    Notes:
        n_of pulls and one SVD for the singular pair, then one pull per route and step. Accurate to
        the dtype times 1/cos of the angle between u_t and v_t, which is large where the product is
        far from normal.

    Example:
        ``sum(route_shares(chain, routes(...)).shares.values())`` is 1 at every step.

        >>> shares = lg.route_shares(chain, lg.routes(chain), of="c", wrt="c").shares
        >>> bool(jnp.allclose(sum(shares.values()), 1.0, atol=1e-4))
        True
    """
    _check_routes(routes, check_stored(chain))
    block = block_between(chain, of, wrt)
    u, v = end_vectors(chain, cotangent, block)
    part, parts = check_stored(block.chain), block.chain.layout.parts
    first, last = scaled(v[None]), scaled(u[None])
    ((_, after), _), later = sweep_forward(part, first, read_mantissa, None)
    _, earlier = sweep_backward(part, last, read_mantissa, None)
    # v_0 ... v_{T-1} before each step, and u_1 ... u_T behind it.
    before = jnp.concatenate([first.mantissa, later[:-1, 0]])
    behind = jnp.concatenate([earlier[:-1, 0][::-1], last.mantissa])

    def carried(part: StoredChain) -> Float[Array, " T"]:
        def at(factor: Any, u: Array, v: Array) -> Array:
            return jnp.matmul(part.pull(factor, u[None])[0], v, precision="highest")

        return jax.vmap(at)(part.factors, behind, before)

    whole = carried(part)
    shares = {
        name: carried(check_stored(route.restricted(parts))) / whole
        for name, route in routes.items()
    }
    total = jnp.matmul(u, after.mantissa[0], precision="highest")
    log_norm = log_of(jnp.abs(total), after.exponent)
    seen = block.is_zero(len(chain)) | ~jnp.any(u != 0) | ~jnp.any(after.mantissa != 0)
    log_norm = jnp.where((total != 0) | seen, log_norm, jnp.nan)
    return RouteShares(shares=shares, log_norm=log_norm, of=of, wrt=wrt)


def _check_routes(routes: Any, chain: StoredChain) -> None:
    """There are routes, and each is of the chain's length and state."""
    if not isinstance(routes, dict) or not routes:
        raise ValueError(
            "routes: expected a dict of at least one chain by name, as routes(chain) gives, but "
            f"got {shown(routes)}."
        )
    check_not_empty(len(chain))
    for name, route in routes.items():
        length, parts = len(route), route.layout.part_sizes()
        if (length, parts) != (len(chain), chain.layout.part_sizes()):
            raise ValueError(
                f"routes: expected every route to be of the chain's T = {len(chain)} steps and "
                f"state, but {name!r} has T = {length} and {route.layout.size} coordinates "
                f"({chain.layout.size} in the chain). Slice the routes like the chain."
            )
