"""Kinds of chains against one another: each class abstract or final, a declared diagonal against
the same chain linearized, and the one way in against its two halves."""

import inspect
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import T, problem, slow

import lstmgrad as lg

CLOSE = {"rtol": 0, "atol": 1e-12}


def kinds(cls=lg.Chain):
    """The class and all classes of the library below it."""
    below = [kind for kind in cls.__subclasses__() if kind.__module__.startswith("lstmgrad.")]
    return {cls}.union(*map(kinds, below))


def test_each_kind_of_chain_is_abstract_or_final():
    assert callable(lg.routes)  # the wing has a kind of its own, known once it is imported
    found = {kind.__name__: kind for kind in kinds()}
    assert {"Chain", "StoredChain", "DenseChain", "StreamedChain", "RouteChain"} <= set(found)
    abstract = {name for name, kind in found.items() if inspect.isabstract(kind)}
    assert abstract == {"Chain", "StoredChain"}
    for name, kind in found.items():
        if name in abstract:
            with pytest.raises(TypeError, match="abstract"):
                typing.cast(typing.Any, kind)()
        else:
            assert not kind.__subclasses__(), f"{name} is neither abstract nor final"


# -- a declared diagonal -------------------------------------------------------------------------


def diagonal_step(params, state, x):
    """Real and complex entries, and what may erase one of them."""
    gates = jax.nn.sigmoid(params["a"] + x)
    turns = jnp.exp(jax.lax.complex(-jnp.abs(params["b"]), x[:2]))
    return {"a": params["keep"] * gates * state["a"] + x, "b": turns * state["b"]}


def declared_and_general(keep=1.0, broken=None):
    """The same chain of 12 steps as a declared diagonal and by `linearize`."""
    params = {"a": jnp.asarray([0.3, -0.5, 1.0]), "b": jnp.asarray([0.7, 0.1])}
    params["keep"] = jnp.asarray([1.0, 1.0, keep])
    state = {"a": jnp.ones(3), "b": jnp.asarray([1.0 + 0.5j, 2.0 - 1.0j])}
    inputs = np.random.default_rng(0).normal(size=(12, 3))
    if broken is not None:
        inputs[broken] = np.nan
    model = lg.Model(diagonal_step, params, state)
    return (
        lg.chain(model, jnp.asarray(inputs), linearize=lg.linearize_diagonal),
        lg.chain(model, jnp.asarray(inputs)),
    )


STATES = {
    "whole": declared_and_general,
    "with zeros": lambda: declared_and_general(keep=0.0),
    "broken": lambda: declared_and_general(broken=7),
}
every_state = pytest.mark.parametrize("kind", STATES)


@pytest.mark.slow
@every_state
def test_norms_of_a_declared_diagonal(kind):
    declared, general = STATES[kind]()
    for of, wrt in ((None, None), ("a", "b")):
        got, want = (lg.norm_map(each, of=of, wrt=wrt, every=3) for each in (declared, general))
        np.testing.assert_allclose(got.log_norms, want.log_norms, **CLOSE)
        np.testing.assert_array_equal(got.times, want.times)
        np.testing.assert_array_equal(got.resolved, want.resolved)
        free = lg.matrix_free_norms(declared, (0, 3, 12), of=of, wrt=wrt)
        last, resolved = want.log_norms[-1, ::-1], want.resolved[-1, ::-1]
        np.testing.assert_allclose(free.log_norms, last[np.asarray([0, 1, 4])], **CLOSE)
        np.testing.assert_array_equal(free.resolved, resolved[np.asarray([0, 1, 4])])
        np.testing.assert_array_equal(free.lags, [0, 3, 12])
    got, want = (lg.matrix_free_norms(each, (3,), rtol=1e-12) for each in (declared, general))
    np.testing.assert_allclose(got.log_norms, want.log_norms, **CLOSE)
    np.testing.assert_array_equal(got.resolved, want.resolved)


@pytest.mark.slow
@every_state
def test_volumes_and_singular_values_of_a_declared_diagonal(kind):
    declared, general = STATES[kind]()
    got, want = (lg.log_abs_det(each) for each in (declared, general))
    np.testing.assert_allclose(got, want, **CLOSE)
    for reader, of in (
        (lg.forward_singular_spectrum, None),
        (lg.backward_singular_spectrum, "b"),
    ):
        got, want = (reader(each, of=of, every=4) for each in (declared, general))
        np.testing.assert_allclose(got.log_values, want.log_values, **CLOSE)
        np.testing.assert_array_equal(got.lags, want.lags)
        np.testing.assert_array_equal(got.resolved, want.resolved)


@every_state
@pytest.mark.parametrize(("count", "burn_in"), [(None, 0), slow(3, 5)])
def test_exponents_of_a_declared_diagonal(kind, count, burn_in):
    declared, general = STATES[kind]()
    got = lg.lyapunov_spectrum(declared, num_exponents=count, burn_in=burn_in)
    # The unit vectors of the largest: a frame at random would still turn towards them.
    want = lg.lyapunov_spectrum(general, got.state.frame, burn_in=burn_in)
    np.testing.assert_allclose(got.exponents, want.exponents, **CLOSE)
    np.testing.assert_allclose(got.standard_errors, want.standard_errors, **CLOSE)
    np.testing.assert_allclose(got.running_exponents, want.running_exponents, **CLOSE)
    np.testing.assert_array_equal(got.times, want.times)
    np.testing.assert_array_equal(got.state.num_steps, want.state.num_steps)
    # Where a QR doubts a direction that vanished, the diagonal need not.
    assert np.all(np.asarray(got.resolved) | ~np.asarray(want.resolved))
    np.testing.assert_array_equal(got.resolved, kind != "broken")
    if count is None and kind == "with zeros":
        np.testing.assert_array_equal(np.isneginf(got.exponents), 6 * [False] + [True])
    if count is not None and kind != "broken":
        every = lg.lyapunov_spectrum(declared, burn_in=burn_in).exponents
        np.testing.assert_allclose(got.exponents, every[:count], **CLOSE)


@pytest.mark.slow
def test_exponents_of_a_declared_diagonal_go_on():
    declared, _ = declared_and_general()
    half = lg.lyapunov_spectrum(declared[:6])
    whole = lg.lyapunov_spectrum(declared)
    rest = lg.lyapunov_spectrum(declared[6:], half.state)
    np.testing.assert_allclose(rest.exponents, whole.exponents, **CLOSE)
    np.testing.assert_array_equal(rest.times[-1], whole.times[-1])


def test_a_slice_of_a_declared_diagonal_knows_its_model():
    declared, general = declared_and_general(keep=0.0)
    for one, other in ((declared, general), (declared[2:7], general[2:7])):
        for got, want in zip(
            jax.tree.leaves((one.trajectory, one.model)),
            jax.tree.leaves((other.trajectory, other.model)),
            strict=True,
        ):
            np.testing.assert_array_equal(got, want)


# -- the one way in ------------------------------------------------------------------------------


def assert_equal(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_way_in_is_its_two_halves_bit_for_bit():
    given = problem("lstm")
    trajectory = lg.unroll(given.step, given.params, given.state, given.inputs)
    for linearize in (None, lg.linearize):
        options = {} if linearize is None else {"linearize": linearize}
        chain = lg.chain(given.model, given.inputs, **options)
        assert_equal(chain, lg.linearize(given.step, given.params, trajectory))
    assert_equal(chain.trajectory, trajectory)
    assert_equal(chain.model, given.model)


@pytest.mark.slow
def test_the_way_in_under_jit_and_vmap():
    given = problem("lstm")
    batch = jnp.stack([given.inputs, -given.inputs])

    def norms(inputs):
        return lg.backward_norms(lg.chain(given.model, inputs)).log_norms

    chains = jax.jit(jax.vmap(lambda inputs: lg.chain(given.model, inputs)))(batch)
    assert chains.batch_shape == (2,)
    together = jax.vmap(lambda chain: lg.backward_norms(chain).log_norms)(chains)
    inside = jax.jit(jax.vmap(norms))(batch)
    for index, inputs in enumerate(batch):
        want = norms(inputs)
        np.testing.assert_allclose(together[index], want, rtol=0, atol=1e-13)
        np.testing.assert_allclose(inside[index], want, rtol=0, atol=1e-13)
    # A batch of chains has a batch of trajectories and of models.
    assert chains.trajectory.states.h.shape == (2, T + 1, 3)
    np.testing.assert_array_equal(chains.model.state.c, jnp.stack([given.state.c] * 2))


@pytest.mark.parametrize("bounds", [(0, T), (2, T), (1, 4), (3, 3), (T, T)])
def test_a_slice_starts_where_its_model_starts(bounds):
    given = problem("lstm")
    states, part = given.run().states, given.chain()[slice(*bounds)]
    k, t = bounds
    want = jax.tree.map(lambda leaf: leaf[k : t + 1], states)
    assert_equal(part.trajectory.states, want)
    np.testing.assert_array_equal(part.trajectory.inputs, given.inputs[k:t])
    if k < t:
        again = lg.unroll(*part.model, part.trajectory.inputs)
        for got, one in zip(jax.tree.leaves(again.states), jax.tree.leaves(want), strict=True):
            np.testing.assert_allclose(got, one, rtol=0, atol=1e-15)
    else:
        assert_equal(part.model.state, jax.tree.map(lambda leaf: leaf[k], states))


def test_a_stream_and_given_matrices_know_no_model():
    given = problem("rnn")
    for chain in (lg.stream(*given), lg.DenseChain.of(given.chain())):
        for read in (lambda chain: chain.model, lambda chain: chain.trajectory):
            with pytest.raises(
                ValueError, match=f"knows its model .* got a {type(chain).__name__}"
            ):
                read(chain)


@pytest.mark.usefixtures("as_installed")
def test_what_is_not_a_model_is_refused():
    given, cell = problem("lstm"), lg.cells.lstm(2, 3)
    for other, name in ((tuple(given.model), "tuple"), (cell, "Cell"), (given, "Problem")):
        message = rf"model: expected an lstmgrad Model, but got {name}: cell.model\(params\)"
        with pytest.raises(ValueError, match=message):
            lg.chain(other, given.inputs)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="inputs"):
        lg.chain(given.model, given.inputs[:0])
    with pytest.raises(RuntimeError, match="Use linearize"):
        lg.chain(given.model, given.inputs, linearize=lg.linearize_diagonal)


def test_given_matrices_do_not_take_over_what_the_model_of_a_layout_does():
    """Ones everywhere, on the layout of two parts that do not act on one another."""

    def apart(params, state, x):
        return {name: 0.5 * part for name, part in state.items()}

    model = lg.Model(apart, None, {"a": jnp.zeros(2), "b": jnp.zeros(2)})
    layout = lg.chain(model, jnp.zeros(3)).layout
    ones = np.ones((1, 4, 4))
    np.testing.assert_array_equal(
        lg.jacobian(lg.DenseChain(ones, layout=layout), of="a", wrt="b"), np.ones((2, 2))
    )
    assert lg.DenseChain.of(lg.chain(model, jnp.zeros(3))).layout.dependence == layout.dependence
