"""One record of every kind, made of arrays of a few numbers, for the tests of results."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

import lstmgrad as lg

NAN, INF = float("nan"), float("inf")


def _floats(*shape: int, low: float = -9.0, high: float = 0.0, dtype: Any = np.float64) -> Any:
    return jnp.asarray(np.linspace(high, low, int(np.prod(shape))).reshape(shape), dtype)


def _triangle(times: Any, steps: Any) -> Any:
    """Logarithms for k <= t, and NaN above the diagonal."""
    lags = np.asarray(times)[:, None] - np.asarray(steps)[None]
    return jnp.asarray(np.where(lags >= 0, -1.25 * lags, NAN))


def norm_profile() -> lg.NormProfile:
    """T = 500, of which the longest lags are not resolved."""
    lags = np.arange(501)
    errors = np.where(lags > 400, INF, 1e-7)
    return lg.NormProfile(
        lags=jnp.asarray(lags),
        log_norms=jnp.asarray(-0.0967 * lags, np.float64),
        errors=jnp.asarray(errors),
        of="c",
        wrt="c",
        fixed="end",
        rtol=1e-5,
    )


def norm_map() -> lg.NormMap:
    """Five times, four steps apart."""
    return lg.NormMap(
        times=4 * jnp.arange(5),
        log_norms=_triangle(4 * np.arange(5), 4 * np.arange(5)),
        errors=jnp.asarray(np.where(np.tril(np.ones((5, 5))) > 0, 1e-7, NAN)),
        of=None,
        wrt=0,
        rtol=1e-5,
    )


def singular_spectrum() -> lg.SingularSpectrum:
    """Twelve values, of which the last is lost."""
    values = _floats(9, 12)
    errors = jnp.zeros((9, 12)).at[:, -1].set(INF)
    return lg.SingularSpectrum(
        lags=10 * jnp.arange(9), log_values=values, errors=errors, of="h", wrt="h", fixed="start"
    )


def lyapunov_state() -> lg.LyapunovState:
    """Of a stream of an LSTM."""
    return lg.LyapunovState(
        frame=jnp.eye(6, dtype=np.float32)[:, :4],
        num_steps=jnp.asarray(1000),
        log_sums=_floats(4),
        variances=_floats(4, low=0.0, high=1.0),
        roundings=_floats(4, low=0.0, high=1.0),
        displaced=jnp.zeros((4, 4)),
        strayed=jnp.zeros(4),
        stray=jnp.zeros(6),
        faded=jnp.zeros(6, bool),
        model_state=lg.cells.LSTMState(h=jnp.ones(3), c=jnp.zeros(3)),
    )


def lyapunov_spectrum() -> lg.LyapunovSpectrum:
    """Four exponents, of which rounding made the last."""
    running = _floats(20, 4, low=-1.0, high=0.1)
    return lg.LyapunovSpectrum(
        exponents=running[-1],
        standard_errors=jnp.full(4, 0.01),
        rounding_errors=jnp.asarray([0.0, 0.0, 0.001, 2.0]),
        times=50 * jnp.arange(1, 21),
        running_exponents=running,
        state=dataclasses.replace(lyapunov_state(), model_state=None),
    )


def lyapunov_vectors() -> lg.LyapunovVectors:
    """Two vectors in three dimensions."""
    return lg.LyapunovVectors(
        times=jnp.arange(10, 21),
        vectors=jnp.broadcast_to(jnp.eye(3)[:, :2], (11, 3, 2)),
        log_growths=_floats(10, 2),
    )


def route_shares() -> lg.RouteShares:
    """Two routes, 30 steps."""
    first = _floats(30, low=0.1, high=0.9)
    return lg.RouteShares(
        shares={"cell": first, "recurrent": 1 - first},
        log_norm=jnp.asarray(-3.25),
        of="c",
        wrt="c",
    )


def gain_budget() -> lg.GainBudget:
    """Two stations, 30 steps."""
    gains = _floats(30, low=-0.5, high=0.1)
    return lg.GainBudget(
        station_log_gains={"recurrent": gains, "state": 0.5 * gains},
        log_projection=jnp.asarray(-0.1),
        log_norm=jnp.sum(1.5 * gains) - 0.1,
        of="h",
        wrt=None,
    )


def layer_factors() -> lg.LayerFactors:
    """Ten layers."""
    return lg.LayerFactors(
        log_slopes=_floats(10, low=-1.6, high=-1.4),
        log_weights=_floats(10, low=0.1, high=0.3),
        log_alignments=_floats(10, low=-0.7, high=-0.1),
        log_norm=jnp.asarray(-17.0),
    )


def contributions(gradient: Any = None) -> lg.Contributions:
    """Of 20 steps; the gradient may be any tree."""
    params = lg.cells.RNNParams(weight_ih=_floats(20), weight_hh=_floats(20), bias=None)  # pyright: ignore[reportArgumentType]
    rest = _floats(21, low=0.0, high=1.0)
    return lg.Contributions(
        leaf_log_norms=params,
        log_norms=_floats(20),
        shares=rest[:-1] - rest[1:],
        cosines=_floats(20, low=-1.0, high=1.0),
        residuals=rest,
        input_log_norms=None,
        gradient=gradient,
        input_gradients=None,
    )


def contribution_map() -> lg.ContributionMap:
    """Five losses, twenty steps."""
    return lg.ContributionMap(
        times=4 * jnp.arange(1, 6),
        steps=jnp.arange(1, 21),
        log_norms=_triangle(4 * np.arange(1, 6), np.arange(1, 21)),
    )


def truncation_bias() -> lg.TruncationBias:
    """Lengths up to 40."""
    lengths = jnp.arange(41)
    return lg.TruncationBias(lengths=lengths, residuals=0.8 ** lengths.astype(np.float64))


def saliency() -> lg.Saliency:
    """Eleven steps of three features, of which the first number is not resolved."""
    values = _floats(11, 3, low=-60.0)
    exact = jnp.asarray(np.exp(np.asarray(values)))
    return lg.Saliency(
        gradients=lg.Scaled(exact, jnp.zeros((11, 3), jnp.int32)),
        log_abs=values,
        resolved=jnp.ones((11, 3), bool).at[0, 0].set(False),
    )


def swap_response() -> lg.SwapResponse:
    """Three replacements of the first of 20 inputs."""
    distances = _floats(3, 21, low=0.1, high=1.0).at[:, 0].set(0.0)
    return lg.SwapResponse(distances=distances, noise=jnp.full(21, 1e-16), at=0, of="h")


def sensitivity() -> lg.Sensitivity:
    """Of the h of an LSTM over 20 steps."""
    weights = lg.cells.RNNParams(weight_ih=_floats(21), weight_hh=_floats(21), bias=None)  # pyright: ignore[reportArgumentType]
    return lg.Sensitivity(
        times=jnp.arange(21),
        log_norms=_floats(21, low=3.0).at[0].set(-INF),
        errors=_floats(21, low=0.1),
        leaf_log_norms=weights,
        state_log_norms=_floats(21),
        of="h",
    )


def signal_to_noise() -> lg.SignalToNoise:
    """Of 30 lags, at the longest of which no signal is seen."""
    ratios = 0.5 * 0.8 ** jnp.arange(30.0)
    return lg.SignalToNoise(
        lags=jnp.arange(30),
        ratios=jnp.where(jnp.arange(30) < 28, ratios, -1e-4),
        standard_errors=jnp.full(30, 1e-3),
        log_norms=_floats(30),
        num_sequences=jnp.full(30, 16),
    )


def fisher_memory() -> lg.FisherMemory:
    """Of 40 lags, the longest of which rounding may have made."""
    return lg.FisherMemory(
        lags=jnp.arange(40),
        log_memories=_floats(40, low=-74.0),
        errors=jnp.where(jnp.arange(40) < 38, 1e-13, INF),
    )


def forcing_interval() -> lg.ForcingInterval:
    """Of an exponent of 0.01 per step."""
    return lg.ForcingInterval(
        interval=jnp.asarray(69.3), standard_error=jnp.asarray(2.1), least=jnp.asarray(65.4)
    )


def newton_iterations() -> lg.NewtonIterations:
    """Of a network that forgets."""
    return lg.NewtonIterations(
        iterations=jnp.asarray(8.27),
        converges=jnp.asarray(True),
        exponent=jnp.asarray(-0.274),
        log_overshoot=jnp.asarray(1.84),
        log_mu=jnp.asarray(-5.5),
        log_rounding=jnp.asarray(-33.3),
    )


def newton_run() -> lg.NewtonRun:
    """Of an LSTM, converged after five iterations of at most twelve."""
    return lg.NewtonRun(
        states=lg.cells.LSTMState(h=jnp.zeros((13, 2)), c=jnp.zeros((13, 2))),
        num_iterations=jnp.asarray(5),
        converged=jnp.asarray(True),
        changes=jnp.where(jnp.arange(12) < 5, 10.0 ** -(2.0 ** jnp.arange(12.0)), NAN),
        rounding=jnp.asarray(1e-15),
        tolerance=1e-8,
    )


def fixed_points() -> lg.FixedPoints:
    """From six starts: a stable point, a saddle, and a slow point."""
    values = jnp.asarray(
        [[0.5, 0.1j], [0.5, 0.1], [2.0, -0.5], [2.0, -0.5], [1.01, 0.2], [1.0, 0.0]]
    )
    return lg.FixedPoints(
        states=jnp.zeros((6, 2)),
        residuals=10.0 ** -jnp.asarray([16.0, 16.0, 15.0, 14.0, 4.0, 2.0]),
        converged=jnp.arange(6) < 4,
        distinct=jnp.asarray([True, False, True, False, True, False]),
        eigenvalues=values,
        tolerance=1e-8,
    )


def first_non_finite() -> lg.FirstNonFinite:
    """States of an LSTM that overflow at 87, h before c."""
    return lg.FirstNonFinite(
        state_time=jnp.asarray(87),
        state_parts={"c": jnp.asarray(False), "h": jnp.asarray(True)},
        factor_time=jnp.asarray(88),
        factor_parts={"c": jnp.asarray(True), "h": jnp.asarray(True)},
        finite_steps=jnp.asarray(86),
        length=100,
    )


def training_curve() -> lg.training.TrainingCurve:
    """Forty reports."""
    steps = 10 * jnp.arange(1, 41)
    return lg.training.TrainingCurve(
        steps=steps,
        losses=_floats(40, low=0.01, high=1.4),
        scores=_floats(40, low=1.0, high=0.25),
        task="delayed_recall",
        delay=99,
        baseline_loss=1.386,
        baseline_score=0.25,
    )


def batch_summary() -> lg.BatchSummary:
    """Eight lags of three norms, and two numbers of each."""
    levels = jnp.array([0.1, 0.25, 0.5, 0.75, 0.9])
    values = levels[:, None] - 9.0 * jnp.arange(8.0)[None]
    return lg.BatchSummary(
        levels=levels,
        points=jnp.arange(8),
        values=values,
        resolved=values > -60,
        num_members=jnp.full(8, 3),
        num_resolved=jnp.full(8, 2),
        numbers={"decay_rate": levels, "horizon": 40 + levels},
        numbers_resolved={"decay_rate": levels < 1, "horizon": levels < 0.8},
        num_known={"decay_rate": jnp.asarray(3), "horizon": jnp.asarray(2)},
        size=3,
        record="NormProfile",
        subject="dc_T/dc_k, 8 lags",
        quantity="log_norms",
        point="lag",
    )


def estimate() -> lg.Estimate:
    """Of a map of norms of 20 000 steps."""
    return lg.Estimate(
        seconds=jnp.asarray(1620.0),
        bytes=jnp.asarray(1.2e9),
        steps=jnp.asarray([8, 128, 512]),
        measured_seconds=jnp.asarray([1e-4, 0.05, 0.8]),
        power=2,
        num_steps=20_000,
    )


RECORDS = {
    make.__name__: make
    for make in (
        norm_profile,
        norm_map,
        singular_spectrum,
        lyapunov_state,
        lyapunov_spectrum,
        lyapunov_vectors,
        route_shares,
        gain_budget,
        layer_factors,
        contributions,
        contribution_map,
        truncation_bias,
        saliency,
        swap_response,
        sensitivity,
        signal_to_noise,
        fisher_memory,
        forcing_interval,
        newton_iterations,
        newton_run,
        fixed_points,
        first_non_finite,
        training_curve,
        batch_summary,
        estimate,
    )
}
