"""What a cell is: three pure functions; and what the files of cells share."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lstmgrad._checks import check_count
from lstmgrad._leaves import shown
from lstmgrad._model import Model
from lstmgrad._types import Params, State, StepFn

Initializer = Callable[..., Array]
"""``initializer(key, shape, dtype) -> array``, like those of `jax.nn.initializers`."""

GLOROT = jax.nn.initializers.glorot_normal()

Kind = TypeVar("Kind", bound=tuple)


class Cell(NamedTuple):
    """A recurrent cell as a record of pure functions.

    Attributes:
        init: ``init(key) -> params``.
        initial_state: ``initial_state() -> state``, all zeros.
        step: ``step(params, state, x) -> state`` for one sequence, without a batch axis. It is the
            same object for every cell of its kind, so it is a stable key of the compilation cache.
        diagonal: whether the step Jacobian is diagonal, so that `linearize_diagonal` may be used.
        held: the parts of the state that the step holds constant: they have no derivative.
        one_sided: whether each matrix of the state is multiplied from the right, so that
            `linearize_one_sided` may be used.

    Example:
        >>> cell.step is lg.cells.lstm(4, 5).step, cell.diagonal
        (True, False)
    """

    init: Callable[[PRNGKeyArray], Params]
    initial_state: Callable[[], State]
    step: StepFn
    diagonal: bool = False
    held: tuple[str, ...] = ()
    one_sided: bool = False

    def model(self, params: Params) -> Model:
        """Returns the cell with these parameters as a `Model` that starts from the zero state.

        Args:
            params: as `init` gives them, or trained.

        Example:
            ``lg.chain(cell.model(params), inputs)`` is the chain of ds_t/ds_{t-1} along the inputs.

            >>> cell.model(cell.init(jax.random.key(0))).state.h.shape
            (3,)
        """
        return Model(self.step, params, self.initial_state())


class HiddenState(NamedTuple):
    """Attributes: h (h,), the hidden state, which is also the output."""

    h: Float[Array, " h"]


class ForgetGate(NamedTuple):
    """Where the parameters of a cell have the biases that say how long it remembers.

    The class of the parameters has it as the attribute `forget_gate`; `with_forget_bias` and
    `with_chrono_bias` read it.

    Attributes:
        order: a letter for each gate stacked in the leaf, from the first to the last.
        kept: the gates whose σ(bias) is the share of the state that is kept.
        replaced: the gates whose σ(bias) is the share that is replaced: their bias is the negative.
        written: the input gates, to which chrono initialization gives the negative bias.
        leaf: the field of the parameters.

    Example:
        >>> gate = lg.cells.LSTMParams.forget_gate
        >>> gate.order, gate.kept, gate.written
        ('ifgo', 'f', 'i')
    """

    order: str
    kept: str = ""
    replaced: str = ""
    written: str = ""
    leaf: str = "bias"


def zero_state(kind: type[Kind], shape: int | tuple[int, ...], dtype: Any = None) -> Kind:
    """Returns a state whose parts are all zeros of one shape.

    Args:
        kind: the NamedTuple of the state.
        shape: the shape of every part.
        dtype: the dtype of every part; None is JAX's default float.
    """
    make: Any = kind
    return make(*[jnp.zeros(shape, dtype)] * len(make._fields))


def check_sizes(input_size: int, hidden_size: int) -> tuple[int, int]:
    """Returns (d, h) as Python ints, once both are whole numbers, 1 or more.

    Args:
        input_size: d.
        hidden_size: h.
    """
    return check_count(input_size, "input_size"), check_count(hidden_size, "hidden_size")


def init_stacked(
    initializer: Initializer, key: PRNGKeyArray, gates: int, shape: tuple[int, int], dtype
) -> Float[Array, "rows columns"]:
    """Returns one weight matrix per gate, each initialized on its own, stacked along axis 0.

    Initializing the whole stack at once would get the fan-out wrong, and would make gates that are
    orthogonal to one another instead of orthogonal matrices.

    Args:
        initializer: of one matrix.
        key: split into one for each gate.
        gates: how many matrices.
        shape: of one of them, (rows, columns).
        dtype: of all of them.
    """
    if not callable(initializer):
        raise ValueError(
            "recurrent_init: expected an initializer, a function of key, shape and dtype, but got "
            f"{shown(initializer)}. lg.cells.orthogonal() is one."
        )
    # Initializers take (fan-in, fan-out); a weight here maps columns to rows.
    rows, columns = shape
    blocks = [initializer(k, (columns, rows), dtype).T for k in jax.random.split(key, gates)]
    return jnp.concatenate(blocks, axis=0)


def init_weights(
    key: PRNGKeyArray, gates: int, sizes: tuple[int, int], recurrent_init: Initializer, dtype
) -> tuple[Float[Array, "rows d"], Float[Array, "rows h"]]:
    """Returns the weights of the input, Glorot normal gate by gate, and of the hidden state.

    Args:
        key: random key.
        gates: how many matrices are stacked.
        sizes: (d, h).
        recurrent_init: the initializer of each gate's recurrent matrix.
        dtype: the dtype of the weights.
    """
    d, h = sizes
    key_ih, key_hh = jax.random.split(key)
    weight_ih = init_stacked(GLOROT, key_ih, gates, (h, d), dtype)
    return weight_ih, init_stacked(recurrent_init, key_hh, gates, (h, h), dtype)


def init_time_step(key: PRNGKeyArray, shape: tuple[int, ...], kind) -> Array:
    """Biases whose softplus is log-uniform in [0.001, 0.1], the time steps of state-space models.

    Args:
        key: random key.
        shape: of the biases.
        kind: their dtype.
    """
    delta = jnp.exp(jax.random.uniform(key, shape, kind, math.log(1e-3), math.log(0.1)))
    return delta + jnp.log(-jnp.expm1(-delta))  # the inverse of softplus
