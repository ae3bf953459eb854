"""`depth`: factors and gradients against NumPy's chain rule, the bound, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from commands import Run, help_text, refused, run

from lstmgrad.cli.depth._options import parse
from lstmgrad.cli.depth._study import draw

FILES = {"depth.png", "depth.svg", "depth.json"}


DEEP = ["--layers", "60", "--width", "5", "--dtype", "float64"]


@pytest.fixture(scope="module")
def ten(tmp_path_factory) -> Run:
    """The command of the README, in single precision."""
    return run(tmp_path_factory.mktemp("depth") / "made", "depth")


@pytest.fixture(scope="module")
def deep(tmp_path_factory) -> Run:
    return run(tmp_path_factory.mktemp("deep"), "depth", *DEEP)


def by_hand(*arguments: str, skip: float):
    """Jacobians of the layers, and the gradients at weights and states, by NumPy."""
    layers, start, cotangent = draw(parse(arguments))
    states, jacobians, slopes = [np.asarray(start.h)], [], []
    for weight in np.asarray(layers.weight):
        value = 1 / (1 + np.exp(-weight @ states[-1]))
        slopes.append(value * (1 - value))
        jacobians.append(skip * np.eye(len(weight)) + slopes[-1][:, None] * weight)
        states.append(skip * states[-1] + value)
    row, of_states, of_weights = np.asarray(cotangent), [], []
    for jacobian, slope, before in zip(jacobians[::-1], slopes[::-1], states[-2::-1], strict=True):
        of_states.append(np.linalg.norm(row))
        of_weights.append(np.linalg.norm(np.outer(row * slope, before)))
        row = row @ jacobian
    of_states.append(np.linalg.norm(row))
    return jacobians, np.log10(of_weights[::-1]), np.log10(of_states[::-1])


@pytest.mark.parametrize(("name", "skip"), [("plain", 0.0), ("residual", 1.0)])
def test_gradients_are_those_of_the_chain_rule(ten, deep, name, skip):
    for found, options, error in ((ten, [], 1e-4), (deep, DEEP, 1e-10)):
        _, of_weights, of_states = by_hand(*options, skip=skip)
        gradients = found.json("depth.json")["gradients"][name]
        np.testing.assert_allclose(gradients["weights"], of_weights, rtol=0, atol=error)
        np.testing.assert_allclose(gradients["states"], of_states, rtol=0, atol=error)


@pytest.mark.parametrize(("stack", "count"), [("one", 1), ("all", 60)])
def test_three_factors_a_layer_multiply_to_the_norm_of_the_jacobian(deep, stack, count):
    jacobians, *_ = by_hand(*DEEP, skip=0.0)
    product = np.linalg.multi_dot([np.eye(5), *jacobians[:count][::-1], np.eye(5)])
    found = deep.json("depth.json")["factors"][stack]
    factors = [found[name] for name in ("slopes", "weights", "alignments")]
    assert [len(each) for each in factors] == [count] * 3
    expected = np.log(np.linalg.norm(product, 2))
    assert np.sum(factors) == pytest.approx(expected, abs=1e-10)
    assert found["log_norm"] == pytest.approx(expected, abs=1e-10)
    assert found["log_norm_of_matrix"] == pytest.approx(expected, abs=1e-10)
    weights = draw(parse(DEEP))[0].weight
    sizes = [np.log(np.linalg.norm(weight, 2)) for weight in weights[:count]]
    np.testing.assert_allclose(found["weights"], sizes, atol=1e-12)
    assert np.max(found["slopes"]) <= np.log(0.25)
    assert np.max(found["alignments"]) <= 1e-12


def test_gradients_of_ten_sigmoid_layers_fall_by_at_least_the_product_bound(ten):
    gradients = ten.json("depth.json")["gradients"]
    plain, bound = gradients["plain"], gradients["bound"]
    assert np.all(np.array(plain["states"]) <= np.array(bound["states"]) + 1e-6)
    assert np.all(np.array(plain["weights"]) <= np.array(bound["weights"]) + 1e-6)
    layers, start, _ = draw(parse([]))
    sizes = np.log10([np.linalg.norm(weight, 2) / 4 for weight in layers.weight])
    np.testing.assert_allclose(bound["states"], [*np.cumsum(sizes[::-1])[::-1], 0], atol=1e-5)
    # Of the first layer's weights: the slope of its own, and the length of its input.
    own = np.log10(np.linalg.norm(start.h) / 4)
    assert bound["weights"][0] == pytest.approx(own + sizes[1:].sum(), abs=1e-5)
    fall = plain["states"][0] - plain["states"][-1]
    assert fall <= sizes.sum() < -3
    # The skip connection keeps what the plain stack loses.
    residual = gradients["residual"]["states"]
    assert residual[0] - residual[-1] > fall + 3


def test_printed_tables_are_those_of_the_file(ten):
    assert (ten.code, ten.err) == (0, "")
    assert {path.name for path in ten.directory.iterdir()} == FILES
    assert (ten.directory / "depth.png").read_bytes().startswith(b"\x89PNG")
    table, lines = ten.json("depth.json"), ten.out.splitlines()
    assert all(len(line) <= 80 for line in lines if "Wrote" not in line)
    assert "1 layer, 3 factors:" in lines
    assert "10 layers, 30 factors:" in lines
    rows = [line.split() for line in lines if line[:5].strip().isdigit()]
    assert [int(row[0]) for row in rows] == [1, *range(1, 11), *range(1, 11)]
    whole = table["factors"]["all"]
    logs = np.array([whole["slopes"], whole["weights"], whole["alignments"]])
    expected = np.exp(np.vstack([logs, logs.sum(axis=0)])).T
    np.testing.assert_allclose(np.array(rows[1:11], float)[:, 1:], expected, atol=5.1e-5)
    columns = [
        table["gradients"][kind][what][:10]
        for what in ("weights", "states")
        for kind in ("plain", "bound", "residual")
    ]
    np.testing.assert_allclose(np.array(rows[11:], float)[:, 1:].T, columns, atol=0.0051)
    (line,) = [line for line in lines if "norm of dh_10/dh_0" in line]
    assert float(line.split()[3]) == pytest.approx(np.exp(whole["log_norm"]), rel=1e-3)
    assert table["reading"] in " ".join(ten.out.split())


def test_the_page_shows_what_is_printed(ten):
    page = (Path(__file__).parents[2] / "examples" / "command_line.md").read_text("utf-8")
    shown = page.partition("layer       slope")[2].partition("```")[0].split()
    got = ten.out.partition("layer       slope")[2].split()[: len(shown)]
    assert len(shown) > 60
    for one, other in zip(got, shown, strict=True):
        assert one == other or float(one) == pytest.approx(float(other), rel=1e-3)
    assert page.partition("```text\nThe plain stack passes")[2].partition("```")[0] in ten.out


def test_a_deep_stack_has_its_ends_in_the_table(deep):
    assert (deep.code, deep.err) == (0, "")
    lines = deep.out.splitlines()
    assert sum("36 more layers; depth.json has all" in line for line in lines) == 2
    rows = [int(line[:5]) for line in lines if line[:5].strip().isdigit()]
    assert rows == [1, *[*range(1, 13), *range(49, 61)] * 2]


@pytest.mark.slow
def test_one_layer_of_one_dead_unit(tmp_path):
    options = ["--layers", "1", "--width", "1", "--activation", "relu"]
    dead = next(
        seed
        for seed in map(str, range(20))
        if (stack := draw(parse([*options, "--seed", seed])))[0].weight[0, 0, 0] * stack[1].h[0] < 0
    )
    found = run(tmp_path, "depth", *options, "--seed", dead)
    assert (found.code, found.err) == (0, "")
    table = found.json("depth.json")
    assert table["gradients"]["plain"]["weights"] == ["-inf"]
    assert table["factors"]["all"]["log_norm"] == "-inf"
    assert table["gradients"]["residual"]["states"] == [pytest.approx(0), pytest.approx(0)]
    assert found.out.count("factors:") == 1
    assert "The plain stack passes 0 of the gradient at its output on" in " ".join(
        found.out.split()
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layers", "0"], "--layers: expected a whole number, 1 or more, but got 0"),
        (["--width", "-3"], "--width: expected a whole number, 1 or more, but got -3"),
        (["--activation", "gelu"], "--activation: invalid choice: 'gelu'"),
        (["ten"], "unrecognized arguments: ten; see --help"),
    ],
)
def test_bad_options(tmp_path, arguments, message):
    assert message in refused(tmp_path, "depth", *arguments)


def test_help(capsys, monkeypatch):
    text = help_text(capsys, monkeypatch, "depth", "--help")
    assert text.startswith("usage: lstmgrad depth")
    assert "--activation" in text


def test_weights_are_of_unit_gain():
    weights = np.asarray(draw(parse([]))[0].weight)
    # Four standard errors of the variance of normal numbers.
    assert 64 * weights.var() == pytest.approx(1, abs=4 * np.sqrt(2 / weights.size))
