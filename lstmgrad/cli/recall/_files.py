"""What was measured as files: figure, curves (npz) and numbers (JSON), alike for the same run."""

import io
import math
from typing import Any

import numpy as np

from lstmgrad.cli._shared.json import NONFINITE, floats, header, json_text
from lstmgrad.cli.recall._reading import headline
from lstmgrad.cli.recall._study import Networks, Study


def figure(study: Study) -> Any:
    """Returns the figure: norms before and after, the score during training and by delay."""
    from lstmgrad import plot

    lines = [
        plot.Memory(
            label=each.label,
            norms={study.stages[stage]: reading.norms for stage, reading in each.readings.items()},
            paths={
                study.stages[stage]: reading.path
                for stage, reading in each.readings.items()
                if reading.path is not None
            },
            forget_bias=each.forget_bias,
            curve=each.curve,
            scores=each.scores,
        )
        for each in study.networks
    ]
    return plot.memory(
        lines,
        baseline=float(study.baseline.score),
        delay=study.options.delay,
        title=headline(study),
    )


def curves_file(study: Study) -> bytes:
    """Returns the content of recall.npz; ``numpy.load(file, allow_pickle=False)`` reads it.

    For every kind of network, with the networks on axis 0: ``{kind}_{stage}_log_norms`` and
    ``_log_path`` (natural logarithms by lag, `lags`), their ``_errors``, and
    ``{kind}_scores_in_training`` by `steps`. `metadata` is a string of JSON that says so.
    """
    first = next(iter(study.networks[0].readings.values()))
    arrays: dict[str, Any] = {"lags": np.asarray(first.norms.lags)[0]}
    for each in study.networks:
        for stage, reading in each.readings.items():
            name = f"{each.name}_{stage}"
            arrays[f"{name}_log_norms"] = np.asarray(reading.norms.log_norms)
            arrays[f"{name}_log_norms_errors"] = np.asarray(reading.norms.errors)
            if reading.path is not None:
                arrays[f"{name}_log_path"] = np.asarray(reading.path.log_norms)
                arrays[f"{name}_log_path_errors"] = np.asarray(reading.path.errors)
        if each.curve is not None:
            arrays["steps"] = np.asarray(each.curve.steps)[0]
            arrays[f"{each.name}_losses_in_training"] = np.asarray(each.curve.losses)
            arrays[f"{each.name}_scores_in_training"] = np.asarray(each.curve.scores)
    metadata = {
        **header("recall"),
        **_settings(study),
        "log_norms": "ln ||d part_T / d part_k||_2 against the lag T - k; networks on axis 0",
        "log_path": "the same through the additive path of the cell alone",
        "errors": "estimated errors of these logarithms; inf: the norm is not resolved, and the "
        "number is the level below which nothing is seen",
        "parts": {each.name: each.part for each in study.networks},
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, metadata=np.array(json_text(metadata)), **arrays)
    return buffer.getvalue()


def record(study: Study) -> dict[str, Any]:
    """Returns the entries of recall.json."""
    return {
        **_settings(study),
        "baseline": {"loss": study.baseline.loss, "score": study.baseline.score},
        "lag": study.lag,
        "units": {
            "score": "share of right answers, one number for each network, by delay",
            "log10_norm": "log10 ||d part_T / d part_1||_2 at that lag; null: not resolved",
            "log10_path": "the same through the additive path alone",
            "swap": "||change of h_T||_2 in float64 if the first input is another one",
            "swap_noise": "what rounding alone may do",
        },
        "nonfinite": NONFINITE,
        "networks": [_entry(study, each) for each in study.networks],
    }


def _settings(study: Study) -> dict[str, Any]:
    options = study.options
    return {
        "task": options.task,
        "delay": options.delay,
        "length": study.length,
        "cells": list(options.cells),
        "seeds": options.seeds,
        "hidden": options.hidden,
        "training_steps": options.train,
        "seed": options.seed,
        "dtype": options.dtype,
        "sequences_per_score": {str(delay): size for delay, size in study.sizes.items()},
    }


def _entry(study: Study, each: Networks) -> dict[str, Any]:
    lasting = None
    if each.lasting is not None and each.lasting.reading.path is not None:
        gates = each.lasting.gates
        lasting = {
            "lag": int(np.asarray(each.lasting.reading.path.lags)[0, -1]),
            "log10_norm": _at(each.lasting.reading.norms, -1),
            "log10_path": _at(each.lasting.reading.path, -1),
            "path_lost_from": floats(each.lasting.lost_from()),
            "path_expected_to_be_lost_from": floats(each.lasting.expected_from()),
            "forget_gate": None
            if gates is None
            else {
                "mean": floats(gates.means),
                "standard_deviation": floats(gates.spreads),
                "smallest": floats(gates.worst_values),
                "step_of_the_smallest": floats(gates.worst_steps),
            },
        }
    stages = {}
    for stage, reading in each.readings.items():
        swaps = each.swaps[stage]
        stages[stage] = {
            "log10_norm": _at(reading.norms, study.lag),
            "log10_path": None if reading.path is None else _at(reading.path, study.lag),
            "swap": None if swaps is None else floats(swaps.distances),
            "swap_noise": None if swaps is None else floats(swaps.noise),
        }
    return {
        "cell": each.name,
        "part": each.part,
        "forget_bias": each.forget_bias,
        "score": {str(delay): floats(scores) for delay, scores in each.scores.items()},
        "stages": stages,
        "beyond": lasting,
    }


def _at(profile: Any, index: int) -> list[float | None]:
    """Decimal logarithms of all networks; None where they are not resolved."""
    logs = np.asarray(profile.log_norms, np.float64)[:, index] / math.log(10)
    hidden = np.isposinf(np.asarray(profile.errors)[:, index])
    return [
        None if lost and math.isfinite(log) else float(log)
        for log, lost in zip(logs, hidden, strict=True)
    ]
