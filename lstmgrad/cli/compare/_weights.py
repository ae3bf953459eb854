"""A trained network of PyTorch from a file of its weights, on the numbers it reads, as a study."""

import textwrap

import jax.numpy as jnp
import numpy as np

import lstmgrad as lg
from lstmgrad.cli._shared.command import Plan
from lstmgrad.cli._shared.console import entry
from lstmgrad.cli._shared.error import CommandError
from lstmgrad.cli._shared.kinds import KINDS
from lstmgrad.cli._shared.sequences import Sequence
from lstmgrad.cli._shared.tokens import read_inputs
from lstmgrad.cli._shared.training import TRAINED
from lstmgrad.cli._shared.weights import Loaded, Weights, load_weights
from lstmgrad.cli.compare._finite import Broken, reader
from lstmgrad.cli.compare._options import Options, analyzed, span
from lstmgrad.cli.compare._study import Study, curves_of, summary_lines


def plan_weights(options: Options, source: Weights) -> Plan:
    """Returns the run that measures the network in a file.

    Args:
        options: what the user asked for.
        source: the file and the network in it.

    Raises:
        CommandError: one of the files is missing or not what it should be, or they do not fit.
    """
    loaded = load_weights(source, options.dtype)
    kind, (step, params, state), dtype = loaded.kind, loaded.model, jnp.dtype(options.dtype)
    sequence = _sequence(options, source, loaded, dtype)
    length, lags = span(options, sequence)
    rows = analyzed(options, sequence, length)
    inputs = jnp.asarray(rows, dtype)
    blocks = _blocks(state._fields)
    settings = {
        "data": f"{sequence.source}: {sequence.summary}",
        "weights": str(source.weights),
        "cells": [kind],
        "hidden": state[-1].size,
        "length": length,
        "sequences": len(rows),
        "training_steps": None,
        "seed": None,
        "dtype": options.dtype,
    }

    def chain_of(params, inputs):
        return lg.chain(lg.Model(step, params, state), inputs)

    def measure() -> Study:
        readings, where = reader(chain_of, blocks, params, inputs)(params)
        return Study(
            curves=tuple(curves_of(kind, TRAINED, readings)),
            stages={TRAINED: "as trained"},
            columns=("cell", "s"),
            lags=lags,
            length=length,
            settings=settings,
            broken=() if where is None else (Broken(kind, TRAINED, *where),),
        )

    what = f"{KINDS[kind].title}; {loaded.described()}"
    lines = textwrap.wrap(f"{what}, analyzed in {options.dtype}", 69)
    summary = [*entry("model", *lines), *entry("training", f"as it is in {source.weights}")]
    return Plan(summary_lines(sequence, summary, rows.shape), measure)


def _sequence(options: Options, source: Weights, loaded: Loaded, dtype: jnp.dtype) -> Sequence:
    """What the network reads, numbers as they are; for a reverse direction last row first."""
    width = loaded.input_size
    layer = "" if source.layer is None else f"layer {source.layer} of "
    columns = f"{width} column{'s' * (width > 1)}, what {layer}{source.weights} reads"
    if options.input is None:
        raise CommandError(f"--input: expected a .csv or .npy file of {columns}")
    sequence = read_inputs(options.input, options.reading, source, loaded)
    how = ", as they are, not standardized"
    if sequence.embedding is not None:
        vectors, how = sequence.embedding.vectors, ""
        sequence = sequence._replace(rows=vectors[sequence.rows], width=vectors.shape[1])
    if sequence.width != width:
        raise CommandError(f"{options.input}: expected {columns}, but it has {sequence.width}")
    if np.abs(sequence.rows).max() > np.finfo(dtype).max:
        raise CommandError(
            f"{options.input}: expected numbers that {dtype} can hold, because they are not "
            "standardized; --dtype float64 holds them all"
        )
    summary = f"{sequence.summary}{how}"
    if source.direction != "reverse":
        return sequence._replace(summary=summary)
    pieces = sequence.rows.reshape(sequence.pieces, sequence.steps, -1)
    turned = pieces[:, ::-1].reshape(sequence.rows.shape)
    return sequence._replace(rows=turned, summary=f"{summary}, last {sequence.unit} first")


def _blocks(parts: tuple[str, ...]) -> list[tuple[str, str]]:
    """What is measured: each part by itself; in a stack the top layer's by the lowest's."""
    top = max(int(part[1:] or 0) for part in parts)
    across = [(f"{kind}{top}", f"{kind}0") for kind in "hc" if top and f"{kind}0" in parts]
    return [*zip(parts, parts, strict=True), *across]
