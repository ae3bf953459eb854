"""What was measured as files: the curves (npz) and the table (JSON), the same for the same run."""

import io
from typing import Any

import numpy as np

from lstmgrad.cli._shared.json import NONFINITE, header, json_file, json_text
from lstmgrad.cli.compare._options import Options
from lstmgrad.cli.compare._report import reading
from lstmgrad.cli.compare._study import THRESHOLD, Curve, Study


def curves_file(study: Study, options: Options) -> bytes:
    """The content of norms.npz; it loads with ``numpy.load(file, allow_pickle=False)``.

    `lags` (T+1,) and, for every curve, ``{cell}_{part}_{stage}`` (T+1,), the natural logarithm of
    the norm, of one layer's part by another's ``{cell}_{part}_by_{wrt}_{stage}``; `metadata` is a
    string of JSON, with a format version, that says so.

    Args:
        study: what was measured.
        options: what the user asked for.
    """
    arrays: dict[str, Any] = {
        _key(curve): np.asarray(curve.profile.log_norms) for curve in study.curves
    }
    metadata = {
        **_header("lstmgrad norms", study, options),
        "quantity": "ln ||d part_T / d wrt_k||_2 against the lag T - k",
        "curves": {_key(curve): _names(curve) for curve in study.curves},
    }
    buffer = io.BytesIO()
    lags = np.arange(study.length + 1)
    np.savez_compressed(buffer, metadata=np.array(json_text(metadata)), lags=lags, **arrays)
    return buffer.getvalue()


def table_file(study: Study, options: Options) -> bytes:
    """The content of table.json, strict JSON.

    Args:
        study: what was measured.
        options: what the user asked for.
    """
    table = {
        **_header("lstmgrad table", study, options),
        "units": {
            "log10_norm": "log10 ||d part_T / d wrt_k||_2, by lag T - k",
            "decay_rate": "nats per step",
            "horizon": f"steps; 'inf': the norm is {THRESHOLD:g} or more at the longest lag",
            "loss": study.loss_unit if study.losses else None,
        },
        "nonfinite": NONFINITE,
        "rows": [
            {
                **_names(curve),
                "log10_norm": {str(lag): curve.log10_norm(lag) for lag in study.lags},
                "decay_rate": curve.decay_rate,
                "horizon": curve.horizon,
                "loss": study.losses.get(curve.cell, {}).get(curve.stage),
            }
            for curve in study.curves
        ],
        "reading": reading(study),
    }
    return json_file(table)


def _key(curve: Curve) -> str:
    across = "" if curve.wrt == curve.part else f"_by_{curve.wrt}"
    return f"{curve.cell}_{curve.part}{across}_{curve.stage}"


def _names(curve: Curve) -> dict[str, str]:
    return {"cell": curve.cell, "part": curve.part, "wrt": curve.wrt, "stage": curve.stage}


def _header(name: str, study: Study, options: Options) -> dict[str, Any]:
    return {
        **header(name),
        "data": f"{study.sequence.source}: {study.sequence.summary}",
        "weights": None if options.weights is None else str(options.weights),
        "cells": list(options.cells),
        "hidden": options.hidden,
        "length": study.length,
        "training_steps": study.steps,
        "seed": options.seed if options.weights is None else None,
        "dtype": options.dtype,
        "threshold": THRESHOLD,
    }
