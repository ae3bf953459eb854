"""What a cell is: three pure functions."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lstmgrad._checks import check_count
from lstmgrad._model import Model
from lstmgrad._types import Params, State, StepFn

Initializer = Callable[..., Array]
"""``initializer(key, shape, dtype) -> array``, as those of `jax.nn.initializers`."""

GLOROT = jax.nn.initializers.glorot_normal()


class Cell(NamedTuple):
    """A recurrent cell as a record of pure functions.

    Attributes:
        init: ``init(key) -> params``.
        initial_state: ``initial_state() -> state``, all zeros.
        step: ``step(params, state, x) -> state`` for one sequence, no batch axis. The same object
            for every cell of the kind, so it is a stable key of the compilation cache.
        diagonal: whether the step Jacobian is diagonal, so that `linearize_diagonal` may be used.
        held: the parts of the state that the step holds: they have no derivative.
    """

    init: Callable[[PRNGKeyArray], Params]
    initial_state: Callable[[], State]
    step: StepFn
    diagonal: bool = False
    held: tuple[str, ...] = ()

    def model(self, params: Params) -> Model:
        """Returns the cell with these parameters as a `Model` that starts from the zero state.

        Args:
            params: as `init` gives them, or trained.

        Example:
            ``lg.chain(cell.model(params), inputs)`` is the chain of ds_t/ds_{t-1} along the inputs.
        """
        return Model(self.step, params, self.initial_state())


class HiddenState(NamedTuple):
    """Attributes: h (h,), the hidden state, which is also the output."""

    h: Float[Array, " h"]


def check_sizes(input_size: int, hidden_size: int) -> tuple[int, int]:
    """(d, h) as Python ints, once both are whole numbers of 1 or more.

    Args:
        input_size: d.
        hidden_size: h.
    """
    return check_count(input_size, "input_size"), check_count(hidden_size, "hidden_size")


def stacked(
    initializer: Initializer, key: PRNGKeyArray, gates: int, shape: tuple[int, int], dtype
) -> Float[Array, "rows columns"]:
    """One weight matrix a gate, each initialized by itself, stacked along axis 0.

    Stacking first and initializing then would give the wrong fan-out, and gates that are orthogonal
    to one another instead of orthogonal matrices.
    """
    # Initializers take (fan-in, fan-out); a weight here maps columns to rows.
    rows, columns = shape
    blocks = [initializer(k, (columns, rows), dtype).T for k in jax.random.split(key, gates)]
    return jnp.concatenate(blocks, axis=0)


def weights(
    key: PRNGKeyArray, gates: int, sizes: tuple[int, int], recurrent_init: Initializer, dtype
) -> tuple[Float[Array, "rows d"], Float[Array, "rows h"]]:
    """Weights of the input, Glorot normal gate by gate, and of the hidden state.

    Args:
        key: random key.
        gates: how many matrices are stacked.
        sizes: (d, h).
        recurrent_init: of each gate's recurrent matrix.
        dtype: of the weights.
    """
    d, h = sizes
    key_ih, key_hh = jax.random.split(key)
    weight_ih = stacked(GLOROT, key_ih, gates, (h, d), dtype)
    return weight_ih, stacked(recurrent_init, key_hh, gates, (h, h), dtype)


def default_float(dtype):
    """The dtype asked for, or JAX's default float (float64 where x64 is on)."""
    return jnp.zeros((), dtype).dtype
