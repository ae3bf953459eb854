"""What a model of another framework is held against: that framework's own run and derivatives."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lstmgrad as lg

T, H, D = 50, 4, 3

OUTPUT = {"float32": 1e-6, "float64": 1e-12}

Own = Callable[[Any, jax.Array], tuple[Any, Any]]


def sequence(dtype: str = "float64", length: int = T) -> jax.Array:
    """Random inputs."""
    return jnp.asarray(np.random.default_rng(5).normal(size=(length, D)), dtype)


def filled(tree: Any, seed: int, size: float = 0.5) -> Any:
    """Random numbers in the shape and dtype of every leaf, biases included."""
    generator = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(size * generator.normal(size=leaf.shape), leaf.dtype), tree
    )


def assert_parity(model: lg.Model, own: Own, dtype: str, length: int = T) -> None:
    """Outputs are the framework's own, and in float64 every block of ds_T/ds_0, too.

    `own(parts, inputs)` runs the framework from a state whose parts are in our order and gives the
    outputs of all steps and the parts of the last state.
    """
    model = model._replace(state=filled(model.state, 7))

    @jax.jit
    def both(model_params, state, inputs):
        trajectory = lg.unroll(model.step, model_params, state, inputs)
        if dtype == "float32":
            return trajectory, own(tuple(state), inputs)[0]

        def last(parts):
            outputs, after = own(parts, inputs)
            return tuple(after), outputs

        chain = lg.linearize(model.step, model_params, trajectory)
        expected, outputs = jax.jacrev(last, has_aux=True)(tuple(state))
        return trajectory, outputs, lg.jacobian(chain), expected, lg.tagged_values(chain)

    found = both(model.params, model.state, sequence(dtype, length))
    assert_outputs(found[0], found[1], dtype)
    if dtype == "float64":
        assert_jacobians(model.state, *found[2:4])
        assert_gates(found[4], found[0].states)


def assert_gates(values: Any, states: Any) -> None:
    """The tags are those of `lg.cells`, and the states are what these gates make of one another.

    For one layer; a gate's own value is the number that multiplies the state in the next one.
    """
    before, after = (
        jax.tree.map(lambda leaf, s=s: leaf[s], states) for s in (slice(-1), slice(1, None))
    )
    if states._fields == ("h", "c"):
        assert set(values) == {"forget", "input", "candidate", "output", "cell"}
        kept = values["forget"] * before.c + values["input"] * values["candidate"]
        np.testing.assert_allclose(kept, after.c, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(values["cell"], before.c)
        return
    if states._fields == ("h",) and "update" in values:
        assert set(values) == {"candidate", "update", "carry"}
        kept = values["update"] * before.h + (1 - values["update"]) * values["candidate"]
        np.testing.assert_allclose(kept, after.h, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(values["carry"], before.h)
    elif states._fields == ("h",):
        assert set(values) in ({"recurrent"}, {"forget", "candidate", "carry"})


def assert_outputs(trajectory: lg.Trajectory, outputs: Any, dtype: str) -> None:
    """The topmost h is the output, to 1e-6 in float32 and 1e-12 in float64."""
    names = [name for name in trajectory.states._fields if name.startswith("h")]
    top = getattr(trajectory.states, names[-1])
    assert top.dtype == dtype
    assert np.abs(top[1:]).max() > 0.1
    np.testing.assert_allclose(top[1:], outputs, rtol=0, atol=OUTPUT[dtype])


def assert_jacobians(state: Any, jacobian: Any, expected: Any) -> None:
    """Block (i, j) of the Jacobian is expected[i][j], to 1e-12 of its largest entry."""
    starts = np.cumsum([0, *(part.size for part in state)])
    for i, row in enumerate(expected):
        for j, block in enumerate(row):
            got = jacobian[starts[i] : starts[i + 1], starts[j] : starts[j + 1]]
            block = np.asarray(block).reshape(got.shape)
            size = np.abs(block).max()
            # Only the layers above a part can be deaf to it.
            assert size > 0 or i < j
            np.testing.assert_allclose(got, block, rtol=0, atol=1e-12 * size)


def alive(tree: Any) -> Any:
    """Parameters with which a ReLU network does not die out: small weights, biases of about 1."""
    return jax.tree.map(lambda leaf: 0.3 * leaf if leaf.ndim == 2 else leaf + 1, tree)


def scan(cell: Callable[[Any, Any], tuple[Any, Any]], start: Any, inputs: Any) -> tuple[Any, Any]:
    """(outputs, last) of `cell(carry, x) -> (carry, output)`."""
    last, outputs = jax.lax.scan(cell, start, inputs)
    return outputs, last
