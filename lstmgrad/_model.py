"""What a model is: a step, its parameters, and where it starts."""

from typing import NamedTuple

from lstmgrad._types import Params, State, StepFn


class Model(NamedTuple):
    """A recurrent model as three pure things: ``lg.chain(model, inputs)`` is the way in.

    Attributes:
        step: ``step(params, state, x) -> state`` for one sequence, no batch axis. Two models of
            one architecture have the same step, so nothing is compiled twice.
        params: the parameters, a pytree as the framework has it.
        state: the starting state s_0, zero unless one was given. Replace it by
            ``model._replace(state=...)``.

    Example:
        >>> def step(weight, state, x):
        ...     return jnp.tanh(weight @ state + x)
        >>> len(lg.chain(lg.Model(step, jnp.eye(2), jnp.zeros(2)), inputs))
        6
    """

    step: StepFn
    params: Params
    state: State
