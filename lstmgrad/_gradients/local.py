"""The part of a gradient that one step makes, and sizes of such parts in any range."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lstmgrad._chains.factors import in_single, nan_with
from lstmgrad._chains.layout import Layout
from lstmgrad._chains.modes import pulling, push_block
from lstmgrad._gradients.outer import Outer, is_outer, outer_pullback
from lstmgrad._numeric.scaled import Scaled, exponent_of, power_below, widen
from lstmgrad._types import Inputs, Params, State, StepFn

_WHY = "contributions and truncation are pulled back to parameters and inputs"


class LocalStep(eqx.Module):
    """One step as a function of the parameters and the input, where it is taken.

    Attributes:
        step: the step function.
        fixed: the parameters without their differentiable leaves.
        layout: which parts of the state after the step are looked at, as a flat vector.
    """

    step: StepFn
    fixed: Params
    layout: Layout = eqx.field(static=True)

    def pullback(
        self, moving: Params, factor: tuple[State, Inputs]
    ) -> Callable[[Float[Array, " n"]], tuple[Params, Inputs]]:
        """What a cotangent of the state behind the step means to the parameters and to the input.

        Args:
            moving: the differentiable leaves of the parameters.
            factor: s_{t-1} and x_t.
        """
        after, vjp = self._vjp(moving, factor)

        def pull(row: Float[Array, " n"]) -> tuple[Params, Inputs]:
            with jax.default_matmul_precision("highest"):
                return jax.tree.map(functools.partial(nan_with, after), vjp(row))

        return pull

    def outer(
        self, moving: Params, factor: tuple[State, Inputs], row: Float[Array, " n"]
    ) -> tuple[list[Outer], Inputs]:
        """What `pullback` gives for one cotangent, by leaf of the parameters not multiplied out.

        Args:
            moving: the differentiable leaves of the parameters.
            factor: s_{t-1} and x_t.
            row: the cotangent.
        """
        after, vjp = self._vjp(moving, factor)

        def leaves(row: Float[Array, " n"]) -> tuple[list[Array], Inputs]:
            part, x_part = vjp(row)
            return jax.tree.leaves(part), x_part

        with jax.default_matmul_precision("highest"):
            parts, x_part = outer_pullback(leaves, row)
        known = functools.partial(nan_with, after)
        inputs = jax.tree.map(
            lambda leaf: known(Outer.of(leaf).to_array()), x_part, is_leaf=is_outer
        )
        return [Outer.of(part).each(known) for part in parts], inputs

    def pull_all(
        self, moving: Params, factors: tuple[State, Inputs], rows: Scaled
    ) -> tuple[Params, Int[Array, ""]]:
        """What one cotangent behind every step means to the parameters, all steps together.

        Args:
            moving: the differentiable leaves of the parameters.
            factors: s_{t-1} and x_t with T on axis 0.
            rows: (T, n), with an exponent each.

        Returns:
            The sum over time, and the exponent that goes with it.
        """
        states, inputs = factors

        def after_steps(moving: Params) -> Float[Array, "T n"]:
            return jax.vmap(lambda state, x: self._after(moving, state, x))(states, inputs)

        exponents = jax.vmap(exponent_of)(rows)
        top = jnp.max(exponents)
        gains = power_below(exponents - top, rows.mantissa.dtype)
        with jax.default_matmul_precision("highest"):
            after, vjp = pulling(after_steps, moving, why=_WHY)
            (part,) = vjp(gains[:, None] * rows.mantissa)
        return jax.tree.map(functools.partial(nan_with, after), part), top

    def along(
        self, moving: Params, direction: Params, factor: tuple[State, Inputs]
    ) -> Float[Array, " n"]:
        """What a step of the parameters along a gradient does to the state behind the step.

        Its inner product with a cotangent is that of the gradient with what `pullback` gives.

        Args:
            moving: the differentiable leaves of the parameters.
            direction: the gradient, like `moving`.
            factor: s_{t-1} and x_t.
        """
        state, x = factor
        tangent = jax.tree.map(lambda leaf: jnp.conj(leaf)[None], direction)
        with jax.default_matmul_precision("highest"):
            after, (moved,) = push_block(
                lambda moving: self._after(moving, state, x), moving, tangent
            )
            return jnp.where(jnp.isnan(after), jnp.nan, moved)

    def _vjp(self, moving: Params, factor: tuple[State, Inputs]) -> tuple[Array, Callable]:
        """The state behind the step, and its pullback to parameters and input."""
        state, x = factor
        x_moving, x_fixed = differentiable(x)

        def after_step(moving: Params, x_moving: Inputs) -> Float[Array, " n"]:
            return self._after(moving, state, eqx.combine(x_moving, x_fixed))

        with jax.default_matmul_precision("highest"):
            return pulling(after_step, moving, x_moving, why=_WHY)

    def _after(self, moving: Params, state: State, x: Inputs) -> Float[Array, " n"]:
        arguments = in_single(self.step, eqx.combine(moving, self.fixed), state, x)
        return self.layout.ravel(self.step(*arguments))


def differentiable(tree: Any) -> tuple[Any, Any]:
    """The leaves that can be differentiated, and the others; None in place of what is missing."""
    return eqx.partition(tree, eqx.is_inexact_array)


def with_room(value: Scaled, layout: Layout, *trees: Any) -> Scaled:
    """The value with entries so far above 1 that parts which are far smaller can be squared.

    Args:
        value: normalized, one block.
        layout: of the states that it belongs to: their dtypes have to hold the entries.
        trees: what parts are taken for: likewise.
    """
    dtypes = [value.mantissa.dtype, *layout.real_dtypes]
    dtypes += [leaf.dtype for leaf in jax.tree.leaves(trees)]
    room = min(jnp.finfo(dtype).maxexp for dtype in dtypes) // 8
    return Scaled(value.mantissa * 2.0**room, exponent_of(value) - room)


def times(tree: Any, factor: Float[Array, ""]) -> Any:
    """Every leaf times a number, in the precision of the leaf.

    Args:
        tree: a pytree of differentiable arrays.
        factor: the number.
    """
    return jax.tree.map(lambda leaf: leaf * factor.astype(leaf.dtype), tree)


def plain(tree: Any, exponent: Int[Array, "..."]) -> Any:
    """Every leaf times 2^exponent, with ±inf and 0 beyond the dtype's range.

    Args:
        tree: a pytree of differentiable arrays.
        exponent: one for all leaves; both may have axes in front.
    """

    def unscaled(leaf: Array) -> Array:
        if jnp.iscomplexobj(leaf):
            return jax.lax.complex(unscaled(leaf.real), unscaled(leaf.imag))
        return Scaled(leaf, exponent).to_array()

    return jax.tree.map(unscaled, tree)


def squares(tree: Any) -> Any:
    """The squared Frobenius norm of every leaf, in one pass; the squares must fit the dtype.

    Args:
        tree: a pytree of arrays.
    """

    def square(leaf: Array) -> Float[Array, ""]:
        flat = (leaf if jnp.iscomplexobj(leaf) else widen(leaf)).reshape(-1)
        return jnp.vdot(flat, flat, precision="highest").real

    return jax.tree.map(square, tree)


def log_norm(square: Float[Array, "..."], exponent: Int[Array, "..."]) -> Float[Array, "..."]:
    """Ln of the norm of what has this square, times 2^exponent.

    Args:
        square: a squared norm.
        exponent: of the norm itself; both may have axes in front.
    """
    return Scaled(square, 2 * exponent).log_abs() / 2


def together(squares: Any, like: Float[Array, "..."]) -> Float[Array, "..."]:
    """The squared norm of all leaves together.

    Args:
        squares: what `squares` gives, each of the shape of `like`.
        like: of the shape and dtype of the result.
    """
    leaves = [leaf.astype(like.dtype) for leaf in jax.tree.leaves(squares)]
    return sum(leaves, start=jnp.zeros_like(like))
