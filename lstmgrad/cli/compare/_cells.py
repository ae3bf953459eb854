"""Cells over one sequence, at initialization and after a short training, as a study."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from lstmgrad.cli._shared.command import Plan
from lstmgrad.cli._shared.kinds import KINDS
from lstmgrad.cli._shared.sequences import Sequence, read_sequence
from lstmgrad.cli._shared.side_by_side import Report, side_by_side
from lstmgrad.cli._shared.training import (
    Params,
    Readout,
    build,
    chain_of,
    evaluator,
    initial,
    stage_titles,
    summary_of,
    train,
)
from lstmgrad.cli.compare._finite import Broken, Where, reader
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
        def train_one(name: str, report: Report) -> Trained:
            model = build(kinds[name], sequence, source.hidden, jnp.dtype(options.dtype))
            return train_cell(model, parts[name], rows, source, report=report)

        found = side_by_side([functools.partial(train_one, name) for name in kinds])
        curves, losses, broken = [], {}, []
        # One after the other: norms are found by decompositions.
        for name, trained in zip(kinds, found, strict=True):
            of_cell, where = read_cell(name, trained, parts[name])
            curves, broken = curves + of_cell, broken + where
            losses[name] = trained.losses
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


class Trained(NamedTuple):
    """A cell after its training, and what reads it.

    Attributes:
        params: by stage.
        losses: by stage.
        read: from `reader`, compiled.
    """

    params: dict[str, Params]
    losses: dict[str, float]
    read: Callable[[Any], tuple[list[tuple], Where | None]]


def train_cell(
    model: Readout, parts: tuple[str, ...], rows: np.ndarray, source: Cells, *, report: Report
) -> Trained:
    """Returns a cell before and after its training: all that two threads may do at a time.

    Args:
        model: the cell with its readout and the sequence.
        parts: whose norms will be read.
        rows: (N, T, ...), what is analyzed.
        source: training steps and seed.
        report: called now and then.
    """
    params, key = initial(model, source.seed)
    loss_of, stages, losses = evaluator(model), {}, {}
    for stage in stage_titles(source.train):
        if losses:
            params = train(model, params, key, source.train, report=report)
        stages[stage], losses[stage] = params, float(loss_of(params))
        report(0)
    blocks = [(part, part) for part in parts]
    inputs = jnp.asarray(rows, model.rows.dtype)
    read = reader(functools.partial(chain_of, model), blocks, params, inputs)
    return Trained(stages, losses, read)


def read_cell(
    name: str, trained: Trained, parts: tuple[str, ...]
) -> tuple[list[Curve], list[Broken]]:
    """Returns the curves of one cell by part, then stage, and where it broke.

    Args:
        name: of the cell.
        trained: the cell.
        parts: whose norms are read.
    """
    curves, broken = [], []
    for stage, params in trained.params.items():
        readings, where = trained.read(params)
        broken += [] if where is None else [Broken(name, stage, *where)]
        curves += curves_of(name, stage, readings, label=f"{KINDS[name].title} ")
    return sorted(curves, key=lambda curve: parts.index(curve.part)), broken


def _losses(sequence: Sequence, values: dict[str, dict[str, float]]) -> Losses:
    """Losses with their unit, and what a prediction that has learned nothing would have."""
    if sequence.symbolic:
        chance = f"{math.log(sequence.width):.3f} if all were equally likely"
        return Losses(f"nats per {sequence.unit}", chance, values)
    # Not 1 where a column is constant.
    chance = f"{np.mean(sequence.rows**2):.3f} for always the mean"
    return Losses("standardized mean squared error", chance, values)
