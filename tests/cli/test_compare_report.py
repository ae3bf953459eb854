"""`compare`: table, sentence and files of studies made by hand."""

import dataclasses
import json
import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from commands import run

import lstmgrad as lg
from lstmgrad.cli._shared.json import json_text
from lstmgrad.cli._shared.training import stage_titles
from lstmgrad.cli.compare import _cells
from lstmgrad.cli.compare._files import record
from lstmgrad.cli.compare._finite import Broken, read_while_finite
from lstmgrad.cli.compare._report import headline, reading, tables
from lstmgrad.cli.compare._study import Curve, Losses, Study


def curve(slope: float, cell="rnn", part="h", stage="initial", log10_norms=None) -> Curve:
    """A straight line over 20 lags, or given norms, with the library's own readings."""
    values = slope * np.arange(21.0) if log10_norms is None else np.asarray(log10_norms)
    log_norms = jnp.asarray(values * math.log(10))
    profile = lg.NormProfile(
        lags=jnp.arange(21),
        log_norms=log_norms,
        errors=jnp.zeros_like(log_norms),
        of=part,
        wrt=part,
        fixed="end",
        rtol=1e-5,
    )
    rate, horizon = lg.decay_rate(profile), lg.horizon(profile, threshold=1e-3)
    return Curve(cell, stage, f"{cell} {part}", profile, float(rate), float(horizon))


def study(*curves: Curve, steps: int = 0) -> Study:
    losses = {c.cell: {"initial": 1.0, "trained": 0.5} for c in curves}
    return Study(
        curves=curves,
        stages=stage_titles(steps),
        columns=("cell", "s", "stage"),
        lags=(1, 20),
        length=20,
        settings={"dtype": "float32"},
        losses=Losses("nats per character", "3.8 by chance", losses),
    )


def norm_rows(found: Study) -> list[list[str]]:
    """The numbers of the table of norms, row by row."""
    lines = tables(found)
    start = next(i for i, line in enumerate(lines) if line.startswith("cell  s "))
    return [line.split()[3:] for line in lines[start + 1 :][: len(found.curves)]]


ZERO = np.where(np.arange(21) < 5, 0.0, -np.inf)


NAN = np.where(np.arange(21) < 1, 0.0, np.nan)


START = "At initialization, the norm of the gradient "


@pytest.mark.parametrize(
    ("curves", "sentence"),
    [
        ([curve(-0.45)], "is below 0.001 for good from lag 7 in RNN h."),
        ([curve(-0.1)], "is still 0.001 or more at lag 20 in RNN h."),
        ([curve(1e-9)], "is still 0.001 or more at lag 20 in RNN h."),  # 1, but for rounding
        (
            [curve(-0.45), curve(-0.95, "lstm", "c")],
            "is below 0.001 for good from lag 7 in RNN h and lag 4 in LSTM c; "
            "so the gradient reaches farthest in RNN h.",
        ),
        (
            [curve(-0.45), curve(-0.45, "gru"), curve(-0.95, "lstm", "c")],
            "is below 0.001 for good from lag 7 in RNN h, lag 7 in GRU h and lag 4 in LSTM c.",
        ),
        (
            [curve(-0.45), curve(-0.1, "lstm", "c")],
            "is still 0.001 or more at lag 20 in LSTM c; it is below 0.001 for good from lag 7 in "
            "RNN h; so the gradient reaches farthest in LSTM c.",
        ),
        (
            [curve(0.5), curve(-0.1, "gru")],
            "has grown above 1 at lag 20 in RNN h (10^10.0); it is still 0.001 or more at lag 20 "
            "in GRU h.",
        ),
        (
            [curve(0, log10_norms=ZERO)],
            "is below 0.001 for good from lag 5 in RNN h; it is exactly zero at lag 20 in RNN h.",
        ),
        (
            [curve(0, log10_norms=NAN), curve(-0.45, "gru")],
            "is below 0.001 for good from lag 7 in GRU h; it is not a number in RNN h.",
        ),
        ([curve(0, log10_norms=NAN)], "is not a number in RNN h."),
        (
            [curve(0, log10_norms=np.full(21, np.inf))],
            "has grown above 1 at lag 20 in RNN h (10^inf).",
        ),
    ],
)
def test_the_sentence_says_what_the_table_shows(curves, sentence):
    assert reading(study(*curves)) == START + sentence


HIDDEN = dataclasses.replace(
    curve(0, log10_norms=ZERO).profile,
    log_norms=jnp.where(jnp.arange(21) < 3, 0.0, -5.0),
    errors=jnp.where(jnp.arange(21) < 3, 0.0, jnp.inf),
)


@pytest.mark.parametrize(
    ("curves", "text"),
    [
        ([curve(-0.45)], "the gradient reaches 7 steps in RNN h"),
        ([curve(-0.45), curve(-0.95, "gru")], "the gradient reaches farthest in RNN h: 7 steps"),
        ([curve(-0.45), curve(-0.45, "gru")], "the gradient reaches 7 steps in RNN h and GRU h"),
        (
            [curve(0.5), curve(-0.1, "gru"), curve(-0.45, "lstm", "c")],
            "the gradient reaches all 20 steps in RNN h and GRU h",
        ),
        (
            [curve(0, log10_norms=NAN), curve(-0.45, "gru")],
            "the gradient reaches 7 steps in GRU h",
        ),
        ([curve(0, log10_norms=NAN)], "the gradient is not a number in RNN h"),
        (
            [
                Curve("rnn", "initial", "rnn h", HIDDEN, math.nan, math.nan),
                curve(-0.45, "gru"),
            ],
            "it is not resolved how far the gradient reaches in RNN h",
        ),
    ],
)
def test_the_line_above_the_figure_says_where_the_gradient_reaches_farthest(curves, text):
    assert headline(study(*curves)) == f"At initialization, {text}"


def test_the_sentence_reads_the_last_stage():
    sentence = reading(study(curve(-1.0), curve(-0.45, stage="trained"), steps=1))
    assert sentence == (
        "After 1 training step, the norm of the gradient is below 0.001 for good from lag 7 in "
        "RNN h."
    )


def test_numbers_that_are_not_finite_are_named_in_the_table_and_in_json():
    found = study(
        curve(0, log10_norms=ZERO), curve(0, "gru", log10_norms=NAN), curve(0.0, "lstm", "c")
    )
    rows = norm_rows(found)
    assert rows == [
        ["0.00", "-inf", "inf", "5"],
        ["nan", "nan", "nan", "nan"],
        ["0.00", "0.00", rows[2][2], ">", "20"],
    ]
    table = json.loads(json_text(record(found)), parse_constant=pytest.fail)
    assert table["rows"][0]["log10_norm"] == {"1": 0.0, "20": "-inf"}
    assert table["rows"][0]["decay_rate"] == "inf"
    assert table["rows"][1]["horizon"] == "nan"
    assert table["rows"][2]["horizon"] == "inf"
    assert "'-inf'" in table["nonfinite"]


HIDDEN = np.where(np.arange(21) < 5, -0.1 * np.arange(21), -30.0)


def hidden(lags, log10_norms=HIDDEN, cell="rnn") -> Curve:
    """A curve that is not resolved at some lags, where its norms are the levels of ignorance."""
    met = curve(0, cell, log10_norms=log10_norms)
    errors = met.profile.errors.at[jnp.asarray(lags)].set(jnp.inf)
    profile = eqx.tree_at(lambda p: p.errors, met.profile, errors)
    rate, horizon = lg.decay_rate(profile), lg.horizon(profile, threshold=1e-3)
    return met._replace(profile=profile, decay_rate=float(rate), horizon=float(horizon))


def test_what_is_not_resolved_is_marked_and_never_zero():
    found = study(hidden(np.arange(5, 21)), curve(-0.1, "gru"))
    assert norm_rows(found)[0] == ["-0.10", "n/r", "0.2303", "5"]
    (note,) = [line for line in tables(found) if line.startswith("n/r")]
    assert note == "n/r: not resolved, because float32 cannot tell the norm from zero"
    assert not any("too low" in line for line in tables(found))
    assert reading(found) == START + (
        "is still 0.001 or more at lag 20 in GRU h; it is below 0.001 for good from lag 5 in "
        "RNN h; it is not resolved at lag 20 by float32 in RNN h; so the gradient reaches farthest "
        "in GRU h."
    )
    table = json.loads(json_text(record(found)), parse_constant=pytest.fail)
    assert table["rows"][0]["log10_norm"] == {"1": pytest.approx(-0.1), "20": None}
    assert "null" in table["nonfinite"]
    assert not any("n/r" in line for line in tables(study(curve(0, log10_norms=ZERO))))


def test_a_horizon_that_is_not_resolved():
    # The level of ignorance is above the threshold: where the norm falls below it is not known.
    levels = np.where(np.arange(21) < 5, 0.0, -2.0)
    found = study(hidden(np.arange(5, 21), levels), curve(-0.45, "gru"))
    assert norm_rows(found)[0][-1] == "n/r"
    assert reading(found) == START + (
        "is below 0.001 for good from lag 7 in GRU h; it is not resolved at lag 20 by float32 in "
        "RNN h; it is not resolved where it falls below 0.001 in RNN h."
    )
    assert record(found)["rows"][0]["horizon"] is None


@pytest.mark.slow
def test_the_figure_says_how_many_curves_it_shows(tmp_path, monkeypatch):
    many = [curve(-0.01 * i, part=f"h{i}") for i in range(21)]
    monkeypatch.setattr(_cells, "read_cell", lambda *_: (many, []))
    arguments = ["--cells", "rnn", "--train", "0", "--length", "20", "--dtype", "float64"]
    found = run(tmp_path, "compare", *arguments)
    assert "The figure shows the first 20 of 21 curves; compare.npz has all." in found.out
    assert len(found.arrays("compare.npz")) == 2 * 21 + 2
    monkeypatch.setattr(_cells, "read_cell", lambda *_: (many[:20], []))
    assert "The figure shows" not in run(tmp_path, "compare", *arguments).out


def test_norms_that_missed_their_tolerance_are_counted_below_the_table():
    met = curve(-0.45)
    errors = met.profile.errors.at[jnp.array([3, 7])].set(0.1)
    unmet = met._replace(profile=eqx.tree_at(lambda p: p.errors, met.profile, errors))
    assert not any("too low" in line for line in tables(study(met)))
    assert any(line.startswith("2 norms") for line in tables(study(met, unmet)))


def test_a_network_that_overflows_is_read_up_to_there():
    """h_t = 5 h_{t-1} + 1 in float32, whose states are not numbers any more after some 55 steps."""
    length = 60

    def step(params, state, x):
        return {"h": params * state["h"] + x}

    def chain_at(params, rows):
        return lg.chain(lg.Model(step, params, {"h": jnp.zeros(1, "float32")}), rows)

    def analyze(params, rows):
        chain = chain_at(params, rows)
        norms = lg.backward_norms(chain, of="h", wrt="h")
        broken = jnp.isinf(chain.trajectory.states["h"][-1, 0])
        norms = dataclasses.replace(
            norms, log_norms=norms.log_norms + jnp.where(broken, jnp.nan, 0)
        )
        return [(norms, 0.0, np.inf, (norms, 0.0, np.inf))]

    params, rows = jnp.full(1, 5.0, "float32"), jnp.ones((length, 1), "float32")
    states = np.asarray(chain_at(params, rows).trajectory.states["h"])[:, 0]
    first = int(np.argmax(~np.isfinite(states)))
    ((profile, *_, path),), where = read_while_finite(analyze, chain_at, params, rows)
    assert where is not None
    for norms in (profile, path[0]):
        np.testing.assert_allclose(norms.log_norms[:first], np.arange(first) * np.log(5), rtol=1e-5)
        assert np.isnan(norms.log_norms[first:]).all()
        assert len(norms.log_norms) == len(norms.errors) == length + 1
    curve = Curve("rnn", "initial", "h", profile, -1.6, np.inf)
    found = study(curve)._replace(broken=(Broken("rnn", "initial", *where),), length=length)
    assert f"first h in the state at step {first}; norms are those of the {first - 1}" in reading(
        found
    )
    assert f"> {first - 1}" in "".join(tables(found))
    (entry,) = record(found)["not_finite"]
    assert (entry["state_step"], entry["state_parts"]) == (first, ["h"])
    # What is finite is read once, and nothing is said.
    ((profile, *_),), where = read_while_finite(analyze, chain_at, params, rows[:20])
    assert where is None
    assert len(profile.log_norms) == 21
