"""A small draw of the fuzzer; the large one is `python tests/fuzz/fuzz.py --cases 100000`."""

import dataclasses

import fuzz
import gradients
import moves
import numpy as np
import pytest
import spectra
from draws import KINDS
from registry import slow
from verdicts import judge, product_norms, table

CASES = [
    fuzz.Case("backward_norms", 8, 32, "float32", None, "a", 1),
    fuzz.Case("forward_norms", 33, 12, "float32", None, None, 1),
    slow(fuzz.Case("matrix_free_norms", 5, 32, "float32", "a", "b", 1)),
    fuzz.Case("norm_map", 3, 6, "float32", "a", "a", 1),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.reading)
def test_no_claim_is_wrong(case):
    batch = 8 if case.size > 32 or case.reading == "norm_map" else 16
    for number, kind in enumerate(KINDS):
        seeds = [[17, number, i] for i in range(batch)]
        bad = [v for v in fuzz.judge_batch(case, kind, seeds) if v[0] in fuzz.BAD]
        assert not bad, f"{kind}, seeds {seeds}: {bad}"


SPECTRA = [
    spectra.Case("forward_singular_spectrum", 3, 20, "float32", every=20),
    slow(spectra.Case("backward_singular_spectrum", 4, 40, "float64", every=20)),
    spectra.Case("lyapunov_spectrum", 3, 20, "float32", interval=4),
    slow(spectra.Case("lyapunov_spectrum", 4, 40, "float64", num_exponents=2, burn_in=7)),
]


@pytest.mark.parametrize("case", SPECTRA, ids=lambda case: f"{case.reading}, {case.dtype}")
def test_no_claim_about_a_spectrum_is_wrong(case):
    for number, kind in enumerate(KINDS):
        # Of triangles, for one direction overtakes another that was behind by more than all digits.
        seeds = [[18, number, i] for i in range(6 if kind == "triangular" else 1)]
        seeds += [seeds[0]] * (6 - len(seeds))
        bad = [v for v in spectra.judge_batch(case, kind, seeds) if v[0] in fuzz.BAD]
        assert not bad, f"{kind}, seeds {seeds}: {bad}"


def test_no_product_is_wrong():
    case = moves.Case("product", 3, 30, "float32")
    for number, kind in enumerate(KINDS):
        seeds = [[19, number, i] for i in range(8)]
        bad = [v for v in moves.judge_batch(case, kind, seeds) if v[0] in fuzz.BAD]
        assert not bad, f"{kind}, seeds {seeds}: {bad}"


@pytest.mark.slow
def test_no_gradient_is_wrong():
    seeds = [[20, i] for i in range(32)]
    case = gradients.Case("contributions", "lstm", 3, 20)
    bad = [v for v in gradients.judge_batch(case, "", seeds) if v[0] in fuzz.BAD]
    assert not bad, f"seeds {seeds}: {bad}"


# What a product loses is below the range beside the rows from which it was made; and the search
# without a matrix left the range where the first look had not seen a part of the product.
FOUND = [
    (fuzz.Case("backward_norms", 5, 32, "float32", None, "a", 1), "triangular", [902, 34, 2]),
    slow(
        fuzz.Case("matrix_free_norms", 2, 90, "float32", "a", "b", 1), "triangular", [907, 34, 60]
    ),
]


@pytest.mark.parametrize(("case", "kind", "seed"), FOUND, ids=["a lost product", "a lost search"])
def test_a_claim_that_was_wrong(case, kind, seed):
    ((verdict, _),) = fuzz.judge_batch(case, kind, [seed])
    assert verdict == "not resolved"


@pytest.mark.slow
def test_no_claim_is_wrong_in_a_larger_draw():
    failures = []
    counts, worst = fuzz.run(4096, 23, list(KINDS), list(fuzz.READINGS), 64, failures)
    assert not failures, failures
    print(table(counts, worst))


def test_a_wrong_claim_is_noticed():
    """The judge itself: each kind of lie about a profile that was right."""
    factors = KINDS["gaussian"](np.random.default_rng(0), 12, 5)
    whole = slice(0, 5)
    truth = product_norms(factors, whole, whole, fixed="end", eps=1e-16)
    errors, sure = np.full(13, 1e-8), np.ones(13, bool)
    got = truth.log_norms.copy()

    def verdict(got=got, errors=errors, resolved=sure, truth=truth):
        return judge(truth, got, errors, resolved, certified=True, eps=1e-16)[0]

    def at(index, value, array=got):
        changed = array.copy()
        changed[index] = value
        return changed

    assert verdict() == "right"
    assert verdict(at(7, got[7] + 1e-6)) == "wrong"
    assert verdict(at(7, np.nan)) == "NaN"
    assert verdict(at(7, -np.inf)) == "false zero"
    hidden = at(7, np.inf, errors)
    assert verdict(at(7, got[7] + 5), hidden, at(7, False, sure)) == "not resolved"
    assert verdict(at(7, got[7] + 5), hidden, sure) == "wrong"  # it says it is resolved
    assert verdict(at(7, got[7] - 5), hidden, at(7, False, sure)) == "wrong"  # its level is low
    gone = dataclasses.replace(truth, log_norms=at(7, -np.inf))
    assert verdict(at(7, 0.0), truth=gone) == "wrong"
    assert verdict(at(7, -np.inf), truth=gone) == "right"


# Two groups of units that the factors keep apart, where a reflection put rounding of one into the
# other; tangents that rounding had turned before the steps that count; a coordinate that left the
# range and led again later; a rank lost inside an interval; what was lost outside the frame; a
# tangent whose place one took of which nothing but rounding was left; rounding that a reflection
# put where a tangent is zero, seen in R to first and to second order; errors whose signs canceled.
EXPONENTS = [
    (spectra.Case("lyapunov_spectrum", 3, 20, "float32", interval=1), "lstm", [23, 54, 18]),
    slow(
        spectra.Case("lyapunov_spectrum", 5, 3, "float64", burn_in=1, interval=1),
        "lstm",
        [21, 26, 13],
    ),
    (
        spectra.Case("lyapunov_spectrum", 2, 60, "float32", num_exponents=1),
        "switching",
        [22, 47, 11],
    ),
    (spectra.Case("lyapunov_spectrum", 3, 20, "float64", interval=3), "dying", [22, 64, 9]),
    slow(
        spectra.Case("lyapunov_spectrum", 6, 15, "float64", num_exponents=3),
        "triangular",
        [21, 6, 0],
    ),
    slow(
        spectra.Case("lyapunov_spectrum", 6, 15, "float32", burn_in=5, interval=1),
        "heads",
        [42, 32, 8],
    ),
    (
        spectra.Case("lyapunov_spectrum", 5, 3, "float64", burn_in=1, num_exponents=5),
        "triangular",
        [23, 20, 9],
    ),
    slow(
        spectra.Case("lyapunov_spectrum", 8, 15, "float64", num_exponents=8, interval=15),
        "heads",
        [42, 46, 1],
    ),
    slow(
        spectra.Case("lyapunov_spectrum", 6, 15, "float32", burn_in=5, num_exponents=6, interval=1),
        "triangular",
        [42, 34, 19],
    ),
]


@pytest.mark.parametrize(
    ("case", "kind", "seed"),
    EXPONENTS,
    ids=["groups", "burn-in", "range", "rank", "outside", "taken", "crossed", "turned", "canceled"],
)
def test_an_exponent_that_was_wrong(case, kind, seed):
    ((verdict, _),) = spectra.judge_batch(case, kind, [seed])
    assert verdict in ("right", "not resolved")


def test_wrong_exponents_are_noticed():
    """The judge of spectra: what is resolved has to be some of the values, in order."""
    truth, errors = np.array([1.0, 0.0, -2.0]), np.full(3, 1e-8)
    some = np.array([False, True, True])

    def verdict(got, resolved, *, ranked=False):
        got = np.array(got)
        return spectra.judge(truth, got, errors, resolved, eps=1e-16, ranked=ranked)[0]

    assert verdict([1.0, 0.0, -2.0], np.ones(3, bool)) == "right"
    assert verdict([3.0, 1.0, 0.0], some) == "not resolved"
    assert verdict([3.0, 1.0, 0.0], some, ranked=True) == "wrong"
    assert verdict([3.0, 1.0, 1.0], some) == "wrong"
    assert verdict([3.0, 1.0, -1.0], some) == "wrong"
