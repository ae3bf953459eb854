"""What was measured as files: figure, curves (npz) and table (JSON), the same for the same run."""

import io
import math
from typing import Any

import numpy as np

import lstmgrad as lg
from lstmgrad.cli._shared.json import NONFINITE, header, json_text
from lstmgrad.cli.compare._finite import THRESHOLD
from lstmgrad.cli.compare._report import headline
from lstmgrad.cli.compare._study import DRAWN, Curve, Study

BANDS = (
    "[10 %, 90 %] quantiles over the sequences, of which the other numbers are the medians; null "
    "where they are not resolved"
)


def figure(study: Study) -> Any:
    """Returns the figure, with one panel per stage."""
    from lstmgrad import plot

    panels: dict[str, list[tuple[str, lg.NormProfile]]] = {}
    for curve in study.curves:
        named = panels.setdefault(study.stages[curve.stage], [])
        named.append((curve.label, curve.profile))
    drawn = {title: named[:DRAWN] for title, named in panels.items()}
    paths: dict[str, dict[str, lg.NormProfile]] = {title: {} for title in panels}
    for curve in study.curves:
        if curve.path is not None:
            paths[study.stages[curve.stage]][curve.label] = curve.path.profile
    return plot.comparison(drawn, paths=paths, threshold=THRESHOLD, title=headline(study))


def curves_file(study: Study) -> bytes:
    """Returns the content of compare.npz; ``numpy.load(file, allow_pickle=False)`` reads it.

    `lags` (T+1,) and, for every curve, ``{cell}_{part}_{stage}`` (T+1,), or (N, T+1) for several
    sequences, the natural logarithm of the norm, and ``{cell}_{part}_{stage}_errors``, its
    estimated error; for one layer's part by another's ``{cell}_{part}_by_{wrt}_{stage}``, and for
    the additive path of a cell alone ``{cell}_{part}_path_{stage}``. `metadata` is a string of
    JSON, with a format version, that says so.
    """
    arrays: dict[str, Any] = {"lags": np.arange(study.length + 1)}
    for curve in study.rows:
        arrays[_key(curve)] = np.asarray(curve.profile.log_norms)
        arrays[f"{_key(curve)}_errors"] = np.asarray(curve.profile.errors)
    metadata = {
        **header("compare"),
        **study.settings,
        "threshold": THRESHOLD,
        "quantity": "ln ||d part_T / d wrt_k||_2 against the lag T - k",
        "errors": "estimated errors of these logarithms; inf: the norm is not resolved, and the "
        "number is the level below which nothing is seen",
        "curves": {_key(curve): _names(curve) for curve in study.rows},
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, metadata=np.array(json_text(metadata)), **arrays)
    return buffer.getvalue()


def record(study: Study) -> dict[str, Any]:
    """Returns the entries of compare.json."""
    return {
        **study.settings,
        "threshold": THRESHOLD,
        "units": {
            "log10_norm": "log10 ||d part_T / d wrt_k||_2, by lag T - k",
            "decay_rate": "nats per step, over the lags at which the norm is resolved and not 0",
            "through": "the norm of the additive path alone, where it is cell",
            "horizon": f"steps; 'inf': the norm is {THRESHOLD:g} or more at the longest lag",
            "loss": study.losses.unit,
            **({"bands": BANDS} if study.sequences > 1 else {}),
        },
        "nonfinite": f"{NONFINITE}; null in log10_norm, decay_rate and horizon: "
        f"{study.settings['dtype']} does not resolve the norm",
        "not_finite": [each.record() for each in study.broken],
        "rows": [
            {
                **_names(curve),
                "log10_norm": {str(lag): curve.log10_norm(lag) for lag in study.lags},
                "decay_rate": curve.known(curve.decay_rate),
                "horizon": curve.known(curve.horizon),
                **_bands(curve, study.lags),
                "loss": study.losses.values.get(curve.cell, {}).get(curve.stage),
            }
            for curve in study.rows
        ],
    }


def _bands(curve: Curve, lags: tuple[int, ...]) -> dict[str, Any]:
    """The 10 % and 90 % quantiles over several sequences; nothing for one."""
    if (batch := curve.batch) is None:
        return {}

    def edges(values: Any, resolved: Any, unit: float = 1.0) -> list[float | None]:
        pairs = [(float(values[i]) / unit, bool(resolved[i])) for i in (0, -1)]
        return [value if good else None for value, good in pairs]

    norms = {
        str(lag): edges(batch.values[:, lag], batch.resolved[:, lag], math.log(10)) for lag in lags
    }
    numbers = {
        name: edges(batch.numbers[name], batch.numbers_resolved[name])
        for name in ("decay_rate", "horizon")
    }
    return {"bands": {"log10_norm": norms, **numbers}}


def _key(curve: Curve) -> str:
    block = f"{curve.part}_path" if curve.alone else curve.block.replace("/", "_by_")
    return f"{curve.cell}_{block}_{curve.stage}"


def _names(curve: Curve) -> dict[str, str]:
    names = {"cell": curve.cell, "part": curve.part, "wrt": curve.wrt, "stage": curve.stage}
    return {**names, "through": "cell"} if curve.alone else names
