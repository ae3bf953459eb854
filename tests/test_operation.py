"""Switches of JAX, threads, many calls: none changes a result, breaks a call or leaves memory."""

import gc
import resource
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import slow

import lstmgrad as lg

LENGTH, INPUT, HIDDEN = 6, 2, 3

SWITCHES = {
    "debug_nans": lambda: jax.debug_nans(True),
    "no implicit transfers": lambda: jax.transfer_guard("disallow"),
    "bfloat16 products": lambda: jax.default_matmul_precision("bfloat16"),
    "another generator": lambda: jax.default_prng_impl("rbg"),
    "tracer leaks": lambda: jax.checking_leaks(),
}
"""Strict promotion and ranks are switched on for all tests, and off in the examples."""


def given(dtype="float32"):
    """A model and inputs, made without JAX's generators."""
    rng = np.random.default_rng(0)
    cell = lg.cells.lstm(INPUT, HIDDEN, dtype=jnp.dtype(dtype))
    shapes = jax.eval_shape(cell.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), dtype), shapes)
    return cell.model(params), jnp.asarray(rng.normal(size=(LENGTH, INPUT)), dtype)


def readings(model, inputs, count=7):
    """One of each wing; the first ones compile fast."""
    chain = lg.chain(model, inputs)
    size = chain.layout.size
    cotangents = np.zeros((LENGTH + 1, size), inputs.dtype)
    cotangents[-1] = 1
    cotangents = jax.device_put(cotangents)
    made = (
        lambda: lg.product(chain).log_abs(),
        lambda: lg.backward_norms(chain, of="c", wrt="c").log_norms,
        lambda: lg.lyapunov_spectrum(chain).exponents,
        lambda: lg.matrix_free_norms(chain, (1, LENGTH)).log_norms,
        lambda: lg.backward_norms(lg.routes(chain)["cell"]).log_norms,
        lambda: lg.contributions(chain, cotangents).log_norms,
        lambda: lg.forward_singular_spectrum(chain).log_values,
    )
    return [read() for read in made[:count]]


@pytest.fixture(scope="module")
def plainly():
    return jax.device_get(readings(*given()))


def close(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5)


# What compiles everything anew is left out by default.
FREE = ("no implicit transfers", "another generator")


@pytest.mark.parametrize("switch", [name if name in FREE else slow(name) for name in SWITCHES])
def test_a_switch_changes_nothing(switch, plainly):
    model, inputs = given()
    with SWITCHES[switch]():
        found = readings(model, inputs)
    close(jax.device_get(found), plainly)


@pytest.mark.slow
@pytest.mark.usefixtures("as_installed")
def test_without_compiling(plainly):
    model, inputs = given()
    with jax.disable_jit():
        found = readings(model, inputs, 2)
    close(jax.device_get(found), plainly[:2])


@pytest.mark.slow
def test_single_and_double_precision_in_one_process(plainly):
    """x64 is off and on in turn, as it is for a thread that asks for it."""
    for wide in (False, True, False):
        with jax.enable_x64(wide):
            model, inputs = given("float64" if wide else "float32")
            found = readings(model, inputs, 3)
            assert found[0].dtype == (jnp.float64 if wide else jnp.float32)
            close(jax.device_get(found), plainly[:3])


def test_two_threads_get_what_one_gets(plainly):
    found, failures = {}, []

    def run(index):
        try:
            for _ in range(3):
                found[index] = jax.device_get(readings(*given()))
        except BaseException as error:  # pragma: no cover
            failures.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert not failures
    assert not any(thread.is_alive() for thread in threads)
    for index in range(2):
        close(found[index], plainly)


@pytest.mark.slow
def test_thousands_of_calls_leave_nothing():
    """Neither memory nor a program for each call."""
    model, inputs = given()

    def call():
        chain = lg.chain(model, inputs)
        return lg.backward_norms(chain, of="c", wrt="c").log_norms.block_until_ready()

    for _ in range(200):
        call()
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    arrays = len(jax.live_arrays())
    for _ in range(2_000):
        call()
    gc.collect()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 20_000  # kilobytes
    assert len(jax.live_arrays()) <= arrays + 5
