"""Chains of given matrices, for a linear model or for Jacobians from elsewhere."""

import dataclasses
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lstmgrad._chains.base import Chain, StoredChain, check_stored, identity_rows
from lstmgrad._chains.layout import Dependence, Layout, layout_of
from lstmgrad._checks import check_array
from lstmgrad._types import PartName


class DenseChain(StoredChain):
    """A chain of given matrices.

    Attributes:
        factors: (T, n, n), J_t at index t-1.
        layout: named blocks; by default the state is one block.

    Example:
        >>> lg.DenseChain.of(chain).factors.shape
        (6, 6, 6)
    """

    factors: Float[Array, "*batch_T n n"]
    layout: Layout = eqx.field(static=True)

    def __init__(
        self,
        factors: Float[Array | np.ndarray, "T n n"],
        *,
        layout: Layout | None = None,
        dependence: Dependence | None = None,
    ):
        """Wraps the matrices.

        Args:
            factors: (T, n, n), J_t at index t-1, latest last.
            layout: where the state's parts lie; None makes one block of size n.
            dependence: ``dependence[i][j]`` declares whether part i after a step depends on part j
                before it; blocks declared independent count as zero. None takes all to depend on
                all, whatever model the layout comes from.

        Raises:
            ValueError: the array is not a stack of square floating-point matrices, or its n is not
                the layout's.
        """
        if isinstance(factors, Chain):
            raise ValueError(
                f"factors: expected matrices (T, n, n), but got {type(factors).__name__}. "
                "DenseChain.of(chain) has its matrices."
            )
        check_array(factors, "factors")
        factors = jnp.asarray(factors)
        if factors.ndim != 3 or factors.shape[1] != factors.shape[2]:
            raise ValueError(
                "factors: expected square matrices stacked along time, shape (T, n, n), but got "
                f"{factors.shape}."
            )
        if not jnp.issubdtype(factors.dtype, jnp.floating):
            raise ValueError(
                f"factors: expected a real floating-point dtype, but got {factors.dtype}."
            )
        size = factors.shape[1]
        if layout is None:
            layout = layout_of(jax.ShapeDtypeStruct((size,), factors.dtype))
            layout = dataclasses.replace(layout, dtype=factors.dtype)  # of given numbers, their own
        if (layout.size, layout.dtype) != (size, factors.dtype):
            raise ValueError(
                f"layout: expected one of size {size} and dtype {factors.dtype}, like the factors, "
                f"but got size {layout.size} and dtype {layout.dtype}."
            )
        self.factors = factors
        count = len(layout.parts)
        dependence = dependence or ((True,) * count,) * count
        self.layout = dataclasses.replace(layout, dependence=dependence)

    @staticmethod
    def of(chain: Chain) -> "DenseChain":
        """Returns the same chain with every factor as a matrix.

        Args:
            chain: T factors on a state of flat size n that can be pulled back (not a stream).

        Raises:
            ValueError: a stream, or a batch of chains.

        Notes:
            T pulls of the identity, T n² numbers.

        Example:
            >>> matrices = lg.DenseChain.of(chain).factors
            >>> bool(jnp.allclose(matrices[1] @ matrices[0], lg.jacobian(chain[:2]), atol=1e-6))
            True
        """
        return _materialize(check_stored(chain))

    def push(self, factor: Float[Array, "n n"], rows: Float[Array, "m n"]) -> Float[Array, "m n"]:
        """J_t v for every row v."""
        return jnp.matmul(rows, factor.T, precision="highest")

    def pull(self, factor: Float[Array, "n n"], rows: Float[Array, "m n"]) -> Float[Array, "m n"]:
        """U J_t for every row u."""
        return jnp.matmul(rows, factor, precision="highest")

    def cut(self, bounds: slice) -> "DenseChain":
        """The chain of the matrices within the bounds."""
        return eqx.tree_at(lambda chain: chain.factors, self, self.factors[bounds])

    def restricted(self, parts: Sequence[PartName]) -> "DenseChain":
        """The chain of the blocks between some of the parts."""
        kept = self.layout.coordinates(parts)
        factors = self.factors[:, kept[:, None], kept[None, :]]
        layout = self.layout.restricted(parts)
        return DenseChain(factors, layout=layout, dependence=layout.dependence)

    @property
    def run(self) -> None:
        """Nothing: the matrices have no model."""
        return None

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The axes in front of (T, n, n)."""
        return self.factors.shape[:-3]


@eqx.filter_jit
def _materialize(chain: StoredChain) -> DenseChain:
    identity = identity_rows(chain)
    factors = jax.vmap(lambda factor: chain.pull(factor, identity))(chain.factors)
    return DenseChain(factors, layout=chain.layout, dependence=chain.layout.dependence)
