"""Cells over one sequence, at initialization and after a short training, as a study."""

import functools
import math

import jax.numpy as jnp
import numpy as np

from lstmgrad.cli._shared.command import Plan
from lstmgrad.cli._shared.kinds import KINDS
from lstmgrad.cli._shared.sequences import Sequence, read_sequence
from lstmgrad.cli._shared.training import (
    Readout,
    build,
    chain_of,
    evaluator,
    initial,
    stage_titles,
    summary_of,
    train,
)
from lstmgrad.cli.compare._finite import Broken, reader
from lstmgrad.cli.compare._options import Cells, Options, analyzed, span
from lstmgrad.cli.compare._study import (
    Curve,
    Losses,
    Study,
    curves_of,
    summary_lines,
)


def plan_cells(options: Options, source: Cells) -> Plan:
    """Returns the run that makes, measures and trains the cells.

    Args:
        options: what the user asked for.
        source: the cells.

    Raises:
        CommandError: the input, the lengths or the number of hidden units will not do.
    """
    sequence = read_sequence(options.input, options.reading)
    length, lags = span(options, sequence)
    rows = analyzed(options, sequence, length)
    kinds = {name: KINDS[name] for name in source.cells}
    parts = {name: kind.parts(source.hidden) for name, kind in kinds.items()}
    settings = {
        "data": f"{sequence.source}: {sequence.summary}",
        "weights": None,
        "cells": list(source.cells),
        "hidden": source.hidden,
        "length": length,
        "sequences": len(rows),
        "training_steps": source.train,
        "seed": source.seed,
        "dtype": options.dtype,
    }

    def measure() -> Study:
        curves, losses, broken = [], {}, []
        for name, kind in kinds.items():
            model = build(kind, sequence, source.hidden, jnp.dtype(options.dtype))
            of_cell, losses[name], where = measure_cell(name, model, parts[name], rows, source)
            curves, broken = curves + of_cell, broken + where
        return Study(
            curves=tuple(curves),
            stages=stage_titles(source.train),
            columns=("cell", "s", "stage"),
            lags=lags,
            length=length,
            settings=settings,
            losses=_losses(sequence, losses),
            broken=tuple(broken),
        )

    summary = summary_of(kinds.values(), sequence, source, options.dtype)
    return Plan(summary_lines(sequence, summary, rows.shape), measure)


def measure_cell(
    name: str, model: Readout, parts: tuple[str, ...], rows: np.ndarray, source: Cells
) -> tuple[list[Curve], dict[str, float], list[Broken]]:
    """Returns the curves of one cell by part, then stage, its losses by stage, where it broke.

    Args:
        name: of the cell.
        model: the cell with its readout and the sequence.
        parts: whose norms are measured.
        rows: (N, T, ...), what is analyzed.
        source: training steps and seed.
    """
    blocks = [(part, part) for part in parts]
    chain = functools.partial(chain_of, model)
    read, inputs = reader(chain, blocks), jnp.asarray(rows, model.rows.dtype)
    loss_of, curves, losses, broken = evaluator(model), [], {}, []
    params, key = initial(model, source.seed)
    for stage in stage_titles(source.train):
        if losses:
            params = train(model, params, key, source.train)
        readings, where = read(params, inputs)
        broken += [] if where is None else [Broken(name, stage, *where)]
        curves += curves_of(name, stage, readings, label=f"{model.kind.title} ")
        losses[stage] = float(loss_of(params))
    return sorted(curves, key=lambda curve: parts.index(curve.part)), losses, broken


def _losses(sequence: Sequence, values: dict[str, dict[str, float]]) -> Losses:
    """Losses with their unit, and what a prediction that has learned nothing would have."""
    if sequence.symbolic:
        chance = f"{math.log(sequence.width):.3f} if all were equally likely"
        return Losses(f"nats per {sequence.unit}", chance, values)
    # Not 1 where a column is constant.
    chance = f"{np.mean(sequence.rows**2):.3f} for always the mean"
    return Losses("standardized mean squared error", chance, values)
