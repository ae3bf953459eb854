"""Decompositions of small matrices, one after the other where `jax.vmap` asks for many.

Why not just `jax.vmap(jnp.linalg.qr)`: on a CPU, jaxlib spreads a batched call of LAPACK or BLAS
over its threads, and in each of them OpenBLAS starts threads of its own. With two cores these come
to wait for one another, for seconds or for ever (jaxlib 0.10.2). A loop over the batch makes one
call at a time on one matrix, and takes no longer for the sizes here. On other devices calls stay
batched. Triangular solves are not here: BLAS starts threads for the smallest of them, and
`graded.inverse_of_upper` does without.

All functions take float32 or float64, and have the derivatives of the functions of JAX behind them.
"""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

P = ParamSpec("P")
R = TypeVar("R")


def in_turn(function: Callable[P, R]) -> Callable[P, R]:
    """The function, at highest precision, which takes a batch one member at a time on a CPU.

    Args:
        function: of arrays alone, by position; returns a pytree of arrays.
    """

    @functools.wraps(function)
    def exact(*arrays: Any) -> Any:
        with jax.default_matmul_precision("highest"):
            return function(*arrays)  # pyright: ignore[reportCallIssue]

    one = jax.custom_batching.custom_vmap(exact)

    @one.def_vmap
    def many(_: int, batched: list[bool], *arrays: Array) -> Any:
        def loop(*arrays: Array) -> Any:
            def member(moving: list[Array]) -> Any:
                rest, pairs = iter(moving), zip(arrays, batched, strict=True)
                return one(*(next(rest) if moves else array for array, moves in pairs))

            pairs = zip(arrays, batched, strict=True)
            return jax.lax.map(member, [array for array, moves in pairs if moves])

        at_once = jax.vmap(exact, [0 if moves else None for moves in batched])
        out = jax.lax.platform_dependent(*arrays, cpu=loop, default=at_once)
        return out, jax.tree.map(lambda _: True, out)

    @jax.custom_jvp
    def call(*arrays: Array) -> Any:
        return one(*arrays)

    @call.defjvp
    def derivative(arrays: tuple, tangents: tuple) -> Any:
        # A batching rule cannot be transposed. So only what does not depend on the tangents goes
        # through it: the value, and the constants of the linear map that is the derivative.
        structure: list[Any] = []

        def linearized(*arrays: Array) -> Any:
            value, linear = jax.linearize(exact, *arrays)
            constants, treedef = jax.tree.flatten(linear)
            structure[:] = [treedef]
            return value, constants

        value, constants = in_turn(linearized)(*arrays)
        linear = jax.tree.unflatten(structure[0], constants)
        return value, linear(*tangents)

    @functools.wraps(function)
    def wrapped(*arrays: Any) -> Any:
        return call(*arrays)

    return wrapped  # pyright: ignore[reportReturnType]


@in_turn
def qr(matrix: Float[Array, "n m"]) -> tuple[Float[Array, "n k"], Float[Array, "k m"]]:
    """Q and R, with k = min(n, m).

    By Householder's reflections. Cholesky QR in two passes is made of products, but with Cholesky's
    factor and its inverse it takes longer on a CPU for square matrices from 100 on (1.2 times in
    float32, 1.7 times in float64 for n = 256); it saves a third from n = 8 m on, where products
    with the factors of a chain take most of the time.

    Args:
        matrix: any.

    References:
        Fukaya, Nakatsukasa, Yanagisawa & Yamamoto 2014, CholeskyQR2.
    """
    orthogonal, upper = jnp.linalg.qr(matrix)
    return orthogonal, upper


@in_turn
def triangle(matrix: Float[Array, "n m"]) -> Float[Array, "k m"]:
    """R alone.

    Args:
        matrix: any.
    """
    return jnp.linalg.qr(matrix, mode="r")


@in_turn
def svd(
    matrix: Float[Array, "n m"],
) -> tuple[Float[Array, "n k"], Float[Array, " k"], Float[Array, "k m"]]:
    """U, the singular values in descending order, and Vᵀ.

    Args:
        matrix: finite.
    """
    return tuple(jnp.linalg.svd(matrix, full_matrices=False))


@in_turn
def singular_values(matrix: Float[Array, "n m"]) -> Float[Array, " k"]:
    """The singular values in descending order.

    Args:
        matrix: finite.
    """
    return jnp.linalg.svd(matrix, compute_uv=False)


@in_turn
def solve(matrix: Float[Array, "n n"], vector: Float[Array, " n"]) -> Float[Array, " n"]:
    """What the matrix takes to the vector, by an LU decomposition; not finite where it is singular.

    Args:
        matrix: any.
        vector: any.
    """
    return jnp.linalg.solve(matrix, vector)


@in_turn
def eigh(matrix: Float[Array, "n n"]) -> tuple[Float[Array, " n"], Float[Array, "n n"]]:
    """The eigenvalues of a symmetric matrix in ascending order, and its eigenvectors as columns.

    Args:
        matrix: symmetric.
    """
    values, vectors = jnp.linalg.eigh(matrix)
    return values, vectors


@in_turn
def eigenvalues(matrix: Float[Array, "n n"]) -> Complex[Array, " n"]:
    """The eigenvalues in no particular order.

    Args:
        matrix: finite.
    """
    return jnp.linalg.eigvals(matrix)


@in_turn
def eigenvectors(
    matrix: Float[Array, "n n"],
) -> tuple[Complex[Array, " n"], Complex[Array, "n n"]]:
    """The eigenvalues in no particular order, and the eigenvectors as columns.

    Args:
        matrix: finite.
    """
    values, vectors = jnp.linalg.eig(matrix)
    return values, vectors


@in_turn
def log_abs_det(matrix: Float[Array, "n n"]) -> Float[Array, ""]:
    """Ln |det|, by an LU decomposition; NaN where an entry is, which that of a GPU does not see.

    Args:
        matrix: any.
    """
    return jnp.where(jnp.any(jnp.isnan(matrix)), jnp.nan, jnp.linalg.slogdet(matrix)[1])
