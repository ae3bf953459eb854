"""`recall`: norms and paths against NumPy, sentences against what was measured, refusals."""

import math
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import Run, help_text, refused, run

import lstmgrad as lg
from lstmgrad.cli.recall import _networks, _study
from lstmgrad.cli.recall._lasting import Gates, Lasting
from lstmgrad.cli.recall._networks import Reading, Swaps
from lstmgrad.cli.recall._options import Options, parse
from lstmgrad.cli.recall._reading import headline, reading
from lstmgrad.cli.recall._study import Networks, Study
from lstmgrad.cli.recall._tables import tables

FILES = {"recall.png", "recall.svg", "recall.npz", "recall.json"}
SMALL = ["--hidden", "4", "--delay", "6", "--train", "3", "--longest", "6", "--seeds", "2"]


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Run:
    directory = tmp_path_factory.mktemp("recall") / "made"
    cells = "rnn,lstm,lstm+chrono"
    return run(directory, *SMALL, "--cells", cells, "--dtype", "float64")


def test_files_tables_and_sentences(small):
    assert (small.code, small.err) == (0, "")
    assert {path.name for path in small.directory.iterdir()} == FILES
    lines = small.out.splitlines()
    assert all(len(line) <= 80 for line in lines if "Wrote" not in line)
    assert small.out.isascii()
    heads = next(line for line in lines if line.startswith("network  ") and "delay" in line)
    assert heads.split() == ["network", "delay", "6"]
    rows = [line.split()[:3] for line in lines if re.search(r"  (initial|trained) ", line)]
    assert rows == [
        [name, part, stage]
        for name, part in (("RNN", "h"), ("LSTM", "c"), ("LSTM+chrono", "c"))
        for stage in ("initial", "trained")
    ]
    assert "After 3 training steps, at a delay of 6, " in " ".join(lines)


def test_norms_are_singular_values_and_the_path_is_the_product_of_the_gates(small):
    """Of the second network at initialization, in NumPy's float64."""
    options = parse([*SMALL, "--dtype", "float64"])
    task = lg.tasks.delayed_recall()
    inputs = _networks.sequences(task, options)[1]
    curves = small.arrays("recall.npz")
    for name in ("lstm", "lstm+chrono"):
        cell, model, _ = _networks.make_networks(name, task, options)
        params = jax.tree.map(lambda leaf: leaf[1], model.params)
        states = lg.unroll(cell.step, params, cell.initial_state(), inputs).states
        norms, path = (curves[f"{name}_initial_log_{what}"][1] for what in ("norms", "path"))
        for lag in (1, 4, 7):

            def last(c, lag=lag, params=params, states=states, cell=cell):
                start = lg.cells.LSTMState(states.h[7 - lag], c)
                return lg.unroll(cell.step, params, start, inputs[7 - lag :]).states.c[-1]

            matrix = np.asarray(jax.jit(jax.jacrev(last))(states.c[7 - lag]))
            expected = np.linalg.svd(matrix, compute_uv=False)[0]
            assert norms[lag] == pytest.approx(math.log(expected), abs=1e-5)
        h, x, rows = np.asarray(states.h), np.asarray(inputs), slice(4, 8)
        weights = (np.asarray(leaf)[rows].T for leaf in (params.weight_ih, params.weight_hh))
        drive = np.hstack([x, h[:-1]]) @ np.vstack(list(weights))
        gates = 1 / (1 + np.exp(-drive - np.asarray(params.bias)[rows]))
        products = np.cumprod(gates[::-1], axis=0).max(axis=1)
        np.testing.assert_allclose(np.exp(path[1:]), products, rtol=1e-6)
    chrono, plain = (
        _networks.make_networks(name, task, options)[1].params for name in ("lstm+chrono", "lstm")
    )
    np.testing.assert_array_equal(chrono.weight_hh, plain.weight_hh)
    biases = np.asarray(chrono.bias)
    assert (biases[:, 4:8] >= 0).all()
    assert (biases[:, 4:8] <= math.log(6)).all()
    np.testing.assert_allclose(biases[:, :4], -biases[:, 4:8])


def test_the_swap_is_the_distance_of_two_runs(small):
    options = parse([*SMALL, "--dtype", "float64"])
    task = lg.tasks.delayed_recall()
    inputs = _networks.sequences(task, options)
    model = _networks.make_networks("rnn", task, options)[1]
    (entry,) = (each for each in small.json("recall.json")["networks"] if each["cell"] == "rnn")
    for network, found in enumerate(entry["stages"]["initial"]["swap"]):
        params = jax.tree.map(lambda leaf, network=network: np.asarray(leaf[network]), model.params)
        ends = {}
        for symbol in range(4):
            x = np.array(inputs[network])
            x[0, :4] = np.eye(4)[symbol]
            h = np.zeros(4)
            for row in x:
                h = np.tanh(params.weight_ih @ row + params.weight_hh @ h + params.bias)
            ends[symbol] = h
        own = int(np.argmax(inputs[network, 0, :4]))
        others = [np.linalg.norm(ends[s] - ends[own]) for s in range(4) if s != own]
        assert found == pytest.approx(np.mean(others), rel=1e-9)


def test_json_agrees_with_the_curves(small):
    table, curves = small.json("recall.json"), small.arrays("recall.npz")
    assert (table["format"], table["lag"], table["length"]) == ("lstmgrad recall", 6, 7)
    assert table["baseline"]["score"] == 0.25
    assert table["sequences_per_score"] == {"6": 500}
    for entry in table["networks"]:
        assert all(len(scores) == 2 for scores in entry["score"].values())
        assert entry["beyond"] is None  # three steps teach nothing
        for stage, values in entry["stages"].items():
            logs = curves[f"{entry['cell']}_{stage}_log_norms"][:, 6] / math.log(10)
            np.testing.assert_allclose(values["log10_norm"], logs, rtol=1e-12)
            assert (values["log10_path"] is None) == (entry["cell"] == "rnn")
    assert [entry["forget_bias"] for entry in table["networks"]] == [None, 1.0, None]
    assert curves["steps"].tolist() == [3]
    assert curves["lstm_scores_in_training"].shape == (2, 1)


@pytest.mark.slow
def test_without_training_one_network_of_another_task(tmp_path):
    options = ["--task", "temporal_order", "--delay", "12", "--cells", "gru", "--hidden", "3"]
    found = run(tmp_path, "recall", *options, "--train", "0", "--seeds", "1", "--longest", "12")
    assert (found.code, found.err) == (0, "")
    assert "At initialization, at a delay of 12, GRU does no better than without a memory" in (
        " ".join(found.out.split())
    )
    assert " trained " not in found.out
    assert set(found.arrays("recall.npz")) == {
        "metadata",
        "lags",
        "gru_initial_log_norms",
        "gru_initial_log_norms_errors",
    }


@pytest.mark.slow
def test_a_network_is_the_same_whatever_is_beside_it():
    task = lg.tasks.delayed_recall()
    few, many = (
        _networks.make_networks("gru", task, Options(hidden=3, seeds=seeds))[1].params
        for seeds in (1, 3)
    )
    for one, both in zip(jax.tree.leaves(few), jax.tree.leaves(many), strict=True):
        np.testing.assert_array_equal(one[0], both[0])
    inputs = [_networks.sequences(task, Options(delay=3, seeds=seeds)) for seeds in (1, 70)]
    np.testing.assert_array_equal(inputs[0][:64], inputs[1][:64])


def test_ctrl_c_in_the_middle_of_training(tmp_path, monkeypatch):
    fit = lg.training.fit

    def interrupted(*args, **options):
        def report(count):
            raise KeyboardInterrupt

        return fit(*args, **{**options, "report": report})

    monkeypatch.setattr(_study.lg.training, "fit", interrupted)
    found = run(tmp_path / "new", *SMALL, "--cells", "rnn")
    assert (found.code, found.err) == (130, "lstmgrad: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def profile(end: float, length: int = 99, networks: int = 2) -> lg.NormProfile:
    """Straight lines from 1 at lag 0 to a power of ten at the last lag."""
    lags = np.arange(length + 1)
    logs = jnp.asarray(np.tile(end * math.log(10) * lags / length, (networks, 1)))
    return lg.NormProfile(
        lags=jnp.asarray(np.tile(lags, (networks, 1))),
        log_norms=logs,
        errors=jnp.zeros_like(logs),
        of="c",
        wrt="c",
        fixed="end",
        rtol=1e-5,
    )


def networks(title: str, scores, norm=-14.0, path=None, swap=1e-10, far=0.25, lasting=None):
    one = Reading(profile(norm), None if path is None else profile(path))
    swaps = Swaps(np.full(2, swap), np.full(2, 1e-15))
    return Networks(
        name=title.lower(),
        title=title,
        label=title,
        part="h" if path is None else "c",
        forget_bias=1.0 if title == "LSTM" else None,
        readings={"initial": one, "trained": one},
        swaps={"initial": swaps, "trained": swaps},
        curve=None,
        scores={99: np.asarray(scores), 10_000: np.full(2, far)},
        lasting=lasting,
    )


def study(*kinds: Networks) -> Study:
    stages = {"initial": "at initialization", "trained": "after 400 training steps"}
    baseline = lg.tasks.Performance(math.log(4), 0.25)
    return Study(kinds, stages, Options(seeds=2), baseline, {99: 1000, 10_000: 100}, 100)


def test_sentences_say_what_was_measured():
    text = reading(
        study(
            networks("RNN", [0.25, 0.27]),
            networks("LSTM", [0.22, 0.26], norm=-5.0, path=-13.6, swap=1e-16),
            networks("LSTM+chrono", [1.0, 0.97], norm=0.2, path=-0.5, swap=2.0),
        )
    )
    for part in (
        "LSTM+chrono recalls what was shown (0.97 to 1.00 in 2 of 2 networks)",
        "RNN and LSTM do no better than without a memory (0.22 to 0.27 in 4 of 4 networks)",
        "99 steps leave at most 10^-14.0 in RNN and 10^-5.0 in LSTM",
        "but up to 10^0.2 in LSTM+chrono",
        "10^-13.6 in LSTM (sigma(1)^99 = 10^-13.5) and 10^-0.5 in LSTM+chrono",
        "moves h_T by 10^-10 in RNN and 2 in LSTM+chrono",
        "nothing that rounding does not in LSTM",
    ):
        assert part in text


def test_a_seed_that_breaks_the_story_is_named():
    text = reading(study(networks("RNN", [0.25, 0.99]), networks("LSTM+chrono", [0.6, 0.5])))
    assert "RNN recalls it in 1 of 2 networks (0.25, 0.99)" in text
    assert "LSTM+chrono is in between (0.60, 0.50)" in text
    assert "no better" not in text


def test_the_line_above_the_figure_says_who_recalls():
    chance, chrono = networks("RNN", [0.25, 0.27]), networks("LSTM+chrono", [1.0, 0.97])
    some = networks("GRU", [0.25, 0.99])
    assert headline(study(chance, chrono)) == (
        "Delay 99: LSTM+chrono recalls what was shown; RNN is at chance"
    )
    assert headline(study(some, networks("LSTM", [0.6, 0.5]))) == (
        "Delay 99: GRU recalls it in 1 of 2 networks; LSTM is in between"
    )
    assert headline(study(chance, networks("GRU", [0.24, 0.24]))) == (
        "Delay 99: RNN and GRU are at chance"
    )


@pytest.mark.parametrize(
    ("far", "end", "parts"),
    [
        (1.0, -41.0, ("recalls 1.00 at a delay of 10000", "has vanished is not yet a symbol")),
        (0.25, -50.0, ("recalls 0.25 at a delay of 10000", "this far, the LSTM forgets, too")),
        (1.0, -1.9, ("at that pace its path falls below 10^-308", "after some 2000000 steps")),
    ],
)
def test_far_beyond_the_delay(far, end, parts):
    long = profile(end, length=10_000)
    gates = Gates(np.full(2, 0.9996), np.full(2, 3e-4), np.array([7, 9]), np.array([0.9, 0.8]))
    lasting = Lasting(Reading(long, long), gates, math.log(np.finfo(np.float64).tiny))
    text = reading(study(networks("LSTM+chrono", [1.0, 1.0], 0.0, 0.0, far=far, lasting=lasting)))
    for part in (*parts, "is 1 - 0.0004 on average", "loses most at step 9, where it is 0.8"):
        assert part in text


def test_a_path_that_is_lost_and_where():
    long = profile(-50.0, length=10_000)
    lasting = Lasting(Reading(long, long), None, -38 * math.log(10))
    np.testing.assert_array_equal(lasting.lost_from(), [7601, 7601])
    assert eqx.tree_equal(lasting.reading.path, long)
    text = reading(study(networks("LSTM+chrono", [1.0, 1.0], 0, 0, far=1.0, lasting=lasting)))
    assert "its path falls below 10^-38" in text
    assert "from lag 7601 on" in text


def test_what_is_not_resolved_is_a_bound_in_the_table():
    kind = networks("RNN", [0.25, 0.25])
    norms = eqx.tree_at(lambda p: p.errors, profile(-14.0), jnp.full((2, 100), jnp.inf))
    kind = kind._replace(readings={"initial": Reading(norms, None)})
    lines = tables(study(kind))
    assert any(re.match(r"RNN .* <-14\.0", line) for line in lines)
    assert any(line.startswith("<: below what rounding") for line in lines)


def test_help_and_defaults(capsys, monkeypatch):
    text = help_text(capsys, monkeypatch, "--help")
    for word in ("delayed_recall", "+chrono", "compare --input", *FILES):
        assert word in " ".join(text.split())
    assert parse([]).cells == ("rnn", "gru", "lstm", "lstm+chrono")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cells", "foo"], "unknown cell 'foo'; the known ones are rnn, "),
        (["--cells", "rnn+chrono"], "expected a cell with a forget gate in front of +chrono, but"),
        (["--cells", "lstm,LSTM"], "cell 'lstm' is named twice"),
        (["--task", "chess"], "invalid choice: 'chess'"),
        (["--task", "temporal_order", "--delay", "8"], "--delay: expected a whole number, 9 or"),
        (["--delay", "0"], "--delay: expected a whole number, 1 or more, but got 0"),
        (["--longest", "98"], "--longest: expected a whole number, 99 or more, because that is"),
        (["--seeds", "0"], "--seeds: expected a whole number, 1 or more, but got 0"),
        (["--train", "-1"], "--train: expected a whole number, 0 or more, but got -1"),
        (["--input", "book.txt"], "unrecognized arguments: --input book.txt; see --help"),
    ],
)
def test_bad_options(tmp_path, arguments, message):
    assert message in refused(tmp_path, *arguments)
