"""What results say of themselves, held against a terminal's width, their own arrays and jit."""

import math
import pydoc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from result_records import INF, NAN, RECORDS, norm_map, norm_profile, singular_spectrum

import lstmgrad as lg
from lstmgrad._result import Result

KINDS = [kind for kind in vars(lg).values() if isinstance(kind, type) and issubclass(kind, Result)]
KINDS.append(lg.training.TrainingCurve)

every_record = pytest.mark.parametrize("kind", RECORDS)


def batch_of(record):
    return jax.tree.map(lambda leaf: np.stack([leaf] * 3), record)


def test_every_kind_is_tested_and_every_record_is_a_result():
    assert {type(make()) for make in RECORDS.values()} == set(KINDS)
    assert len(KINDS) == 25


@every_record
def test_a_line_that_fits_and_a_short_table(kind):
    record = RECORDS[kind]()
    line, *table = str(record).split("\n")
    assert repr(record) == line
    assert line.startswith(f"{type(record).__name__}(")
    assert len(line) <= 100
    assert 2 <= len(table) <= 11
    assert len({len(row) for row in table}) == 1, "columns are aligned"
    assert len(table[0]) <= 100
    assert "Array" not in str(record)


@every_record
def test_a_batch_says_its_shape(kind):
    record = batch_of(RECORDS[kind]())
    assert "batch (3,)" in repr(record)
    assert len(repr(record)) <= 100
    assert str(record).startswith(repr(record))
    with pytest.raises(ValueError, match=r"result: expected that of one sequence, but got a batch"):
        lg.summary(record)


@every_record
def test_printing_never_fails(kind):
    record, seen = RECORDS[kind](), []

    def look(inside):
        seen.extend([repr(inside), str(inside)])
        return inside

    abstract = jax.eval_shape(look, record)
    jax.make_jaxpr(jax.vmap(look))(batch_of(record))
    for other in (
        abstract,
        jax.tree.map(lambda leaf: None, record),
        jax.tree.map(lambda leaf: True, record),
        jax.tree.map(lambda leaf: object(), record),
        jax.tree.map(lambda leaf: jnp.full_like(leaf, 0), record),
    ):
        seen.extend([repr(other), str(other)])
    for value in (NAN, INF, -INF):
        seen.append(str(jax.tree.map(lambda leaf, value=value: filled(leaf, value), record)))
    for text in seen:
        assert text.startswith(f"{type(record).__name__}(")
        assert max(map(len, text.split("\n"))) <= 100


def filled(leaf, value):
    return np.full_like(leaf, value) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


@every_record
def test_printing_inside_a_trace_knows_what_is_known(kind):
    """A record from outside a compiled function has its numbers there, too."""
    record, seen = RECORDS[kind](), []

    def look(x):
        seen.extend([repr(record), str(record), lg.summary(record)])
        return x

    jax.make_jaxpr(look)(1.0)
    assert seen[:2] == [repr(record), str(record)]
    np.testing.assert_equal(seen[2], lg.summary(record))


@every_record
def test_a_summary_is_flat_floats(kind):
    record = RECORDS[kind]()
    found = lg.summary(record)
    assert found
    assert all(type(name) is str and type(value) is float for name, value in found.items())
    assert all(name.isidentifier() for name in found), found
    loaded = jax.tree.map(np.asarray, record)
    np.testing.assert_equal(lg.summary(loaded), found)


def test_a_summary_takes_results_alone(as_installed):
    anything: list[Any] = [{"a": 1.0}, np.ones(2), None, "text"]
    for wrong in anything:
        with pytest.raises(ValueError, match="result: expected what an analysis returns, such as"):
            lg.summary(wrong)


def test_a_summary_of_norms_is_what_the_functions_return():
    whole = norm_profile()
    record = jax.tree.map(lambda leaf: leaf[:301], whole)
    found = lg.summary(record)
    assert found["log_norm"] == pytest.approx(-0.0967 * 300)
    assert found["longest_lag"] == 300
    assert found["horizon"] == float(lg.horizon(record)) == 72
    assert found["decay_rate"] == pytest.approx(float(lg.decay_rate(record)), rel=1e-12)
    assert found["decay_rate"] == pytest.approx(0.0967)
    assert "-29.01" in repr(record)
    assert "horizon 72" in repr(record)


def test_what_is_not_resolved_says_so():
    record = norm_profile()
    assert "not resolved" in repr(record)
    assert "no" in str(record).split("\n")[-1]
    found = lg.summary(record)
    assert math.isnan(found["log_norm"])
    assert math.isfinite(found["decay_rate"])
    spectrum = singular_spectrum()
    assert "to ? at lag 80, 11 resolved" in repr(spectrum)
    assert str(spectrum).split("\n")[-1].split()[-2:] == ["?", "11"]
    assert math.isnan(lg.summary(spectrum)["smallest_log_value"])
    hidden = norm_map()
    hidden = eqx.tree_at(lambda record: record.errors, hidden, hidden.errors.at[4, 0].set(INF))
    assert "ln norm ? from k = 0 to t = 16" in repr(hidden)
    assert math.isnan(lg.summary(hidden)["log_norm"])
    assert lg.summary(hidden)["largest_log_norm"] == 0.0


def test_long_names_and_many_columns_are_cut():
    gains = {f"station number {index}": jnp.zeros(3) for index in range(20)}
    record = lg.GainBudget(
        station_log_gains=gains | {"state": jnp.ones(3)},
        log_projection=jnp.asarray(0.0),
        log_norm=jnp.asarray(3.0),
        of="a" * 60,
        wrt="b" * 60,
    )
    line, head, *_ = str(record).split("\n")
    assert len(line) == 100
    assert line.endswith("…)")
    assert len(head) <= 100
    assert "…  ln gain, together" in head


def test_no_steps_at_all_print():
    record = lg.ContributionMap(
        times=jnp.arange(0), steps=jnp.arange(0), log_norms=jnp.zeros((0, 0))
    )
    assert str(record) == "ContributionMap(0 losses, 0 steps, log_norms float64[0,0])"
    with pytest.raises(ValueError, match="result: expected numbers, but got a result that is"):
        lg.summary(record)


def test_a_summary_inside_jit_says_so():
    with pytest.raises(ValueError, match="Take the summary outside jit and vmap"):
        jax.jit(lg.summary)(norm_profile())


@every_record
def test_help_is_the_docstring_and_what_is_public(kind):
    record = RECORDS[kind]()
    text = pydoc.render_doc(record, renderer=pydoc.TextDoc())
    own = type(record).__doc__
    assert own is not None
    assert own.split("\n")[0] in text
    assert "Methods inherited from equinox" not in text
    assert "__dataclass_fields__" not in text
    assert "jaxlib" not in text
    assert len(text.split("\n")) <= len(own.split("\n")) + 60
