"""The way from a chain to its findings."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstmgrad._calls import public
from lstmgrad._chains.base import Chain, StoredChain, known_run
from lstmgrad._checks import check_arrays, check_count, check_kind, check_positive
from lstmgrad._types import State
from lstmgrad.diagnosis._chunks import chunk_bias, chunk_lengths
from lstmgrad.diagnosis._findings import Diagnosis
from lstmgrad.diagnosis._readings import Readings, flat_of, loss_is_last, random_readout, read
from lstmgrad.diagnosis._records import Finding, Settings
from lstmgrad.diagnosis._remedies import remedies_of
from lstmgrad.diagnosis._rules import RULES, Case, with_causes

RANDOM_READOUT = "a random linear readout of the last h, of norm 1"


@public
def diagnose(
    chain: Chain,
    cotangents: State | None = None,
    *,
    lag: int | None = None,
    clip: float | None = None,
    truncation: int | None = None,
    batch_size: int | None = None,
    sequences: int | None = None,
) -> Diagnosis:
    """Returns what is wrong with a model on a task, how sure that is, and what helps.

    Args:
        chain: from `chain`; for intervals, that of the same model on N sequences,
            ``jax.vmap(lambda inputs: lg.chain(model, inputs))(batch)``.
        cotangents: of the loss of each sequence, as `loss_cotangents` gives them, with N on axis 0
            for N sequences. None looks through a random readout of the last h: the rules then say
            what they can without the loss.
        lag: the steps over which something has to be learned, 1 to T - 1; None is T - 1.
        clip: the largest norm of a gradient in training; None is none.
        truncation: the steps that back-propagation goes back in training; None is all.
        batch_size: sequences whose mean gradient is clipped; None is all N.
        sequences: how many sequences the training will see; None is unknown.

    Returns:
        `Diagnosis`: a sequence of findings. What was found comes first, the severe before the mild
        and what explains before what is explained.

    Raises:
        ValueError: a chain that does not know its model, or a stream; more than one axis in front
            of the time axis, or several models; cotangents of other shapes; an option out of its
            range.

    Notes:
        Two to three dozen times the cost of a gradient, and for a loss at more than the last step
        another T of them. One compiled program for all sequences: the first call takes half a
        minute of one core for an LSTM, the next one of the same shapes none.

        Intervals are those of the mean over the sequences, at 95 %. With one sequence they are
        those of the arithmetic, and the verdicts hold for this sequence. A rule looks at the
        network as it is: at initialization it says what can be learned at first. A training may
        find a way around: of LSTMs with forget bias 5, whose output is saturated from the start,
        one of three with 64 units learned delayed recall over 200 steps, and three of three with 32
        units learned it over 99. `diagnosis.verify` tries it.

        Lengths of chunks for a bias, and their remedy, are read where `truncation` is given: some
        thirty gradients more. Of a stack the additive paths, forget gates and their remedies are
        those of every layer; the slope at the output is that of the top layer, and predicted for
        a single cell alone. Rules of plain networks are silent about stacks.

    Example:
        ```python
        chains = jax.vmap(lambda inputs: lg.chain(model, inputs))(batch)
        print(lg.diagnose(chains, lag=200))
        ```

        >>> batch = jnp.stack([inputs, -inputs])
        >>> found = lg.diagnose(jax.vmap(lambda one: lg.chain(model, one))(batch), lag=5)
        >>> found["non-finite"].verdict
        'clear'
    """
    case = _case(chain, cotangents, lag, clip, truncation, batch_size, sequences)
    with np.errstate(all="ignore"):
        findings = [found for rule in RULES.values() if (found := rule(case)) is not None]
        findings = [
            finding._replace(remedies=remedies_of(case, finding))
            for finding in with_causes(findings)
        ]
    ordered = sorted(findings, key=_place)
    return Diagnosis(tuple(ordered), case.settings, case.readings)


def _case(
    chain: Chain,
    cotangents: State | None,
    lag: int | None,
    clip: float | None,
    truncation: int | None,
    batch_size: int | None,
    sequences: int | None,
) -> Case:
    chains = _batch_of(chain)
    run = known_run(chains)
    count, length = jax.tree.leaves(run.inputs)[0].shape[:2]
    if length < 2:
        raise ValueError(f"chain: expected two steps or more, but got {length}.")
    wanted = length - 1 if lag is None else lag
    back = check_count(wanted, "lag", most=length - 1, limit="T - 1")
    if clip is not None:
        clip = check_positive(clip, "clip")
    if truncation is not None:
        truncation = check_count(truncation, "truncation", most=length, limit="T")
    size = count if batch_size is None else check_count(batch_size, "batch_size")
    if sequences is not None:
        sequences = check_count(sequences, "sequences")
    layout = chains.layout
    if cotangents is None:
        flat = random_readout(layout, length, count)
    else:
        check_arrays(cotangents, "cotangents")
        tree = jax.tree.map(jnp.asarray, cotangents)
        if chains is not chain:  # one sequence, as a batch of one
            tree = jax.tree.map(lambda leaf: leaf[None], tree)
        flat = flat_of(tree, layout, length)
    readings = jax.device_get(read(chains, flat, lag=back, last_only=loss_is_last(flat)))
    chunks = chunked = None
    if truncation is not None:
        chunks = chunk_lengths(truncation, length)
        chunked = np.asarray(chunk_bias(chains, flat, jnp.asarray(chunks)))
    step, params = jax.tree.map(_first, run.step).parts()
    settings = Settings(
        length=length,
        lag=back,
        sequences=count,
        loss=RANDOM_READOUT if cotangents is None else "given",
        clip=clip,
        truncation=truncation,
        batch_size=size,
        dtype=str(np.dtype(layout.dtype)),
        step=getattr(step, "__qualname__", type(step).__name__),
        sizes={str(part): size for part, size in layout.part_sizes().items()},
        versions=_versions(),
    )
    return Case(
        readings=_on_host(readings),
        settings=settings,
        params=params,
        step=step,
        states=_parts(run.states(axis=1)),
        chunks=chunks,
        chunked=chunked,
        looks=int(jnp.any(flat != 0, axis=-1).sum(axis=-1).max()),
        budget=sequences,
    )


def _batch_of(chain: Chain) -> Any:
    """The chains of all sequences, on axis 0; they are of one model."""
    check_kind(chain, Chain, "chain")
    if not isinstance(chain, StoredChain) or chain.run is None:
        raise ValueError(
            "chain: expected one that keeps its states and knows its model, from chain(model, "
            f"inputs), but got a {type(chain).__name__}."
        )
    shape = chain.batch_shape
    if not shape:
        return jax.tree.map(lambda leaf: leaf[None], chain)
    if len(shape) > 1:
        raise ValueError(
            f"chain: expected one axis of sequences in front of the time axis, but got {shape}. "
            "Diagnose one network at a time."
        )
    for leaf in jax.tree.leaves(known_run(chain).step):
        rows = np.asarray(leaf)
        if not (np.array_equal(rows[:1].repeat(len(rows), 0), rows, equal_nan=True)):
            raise ValueError(
                "chain: expected one model on several sequences, but got several models. Make the "
                "chains by jax.vmap over the inputs alone."
            )
    return chain


def _first(leaf: Any) -> Any:
    return leaf[0]


def _on_host(readings: Readings) -> Readings:
    """With the stride as a number."""
    return readings._replace(stride=int(readings.stride))


def _parts(states: State) -> dict[str, np.ndarray]:
    """The states by the name of their part, where they have names."""
    fields = states._asdict() if hasattr(states, "_asdict") else states
    if not isinstance(fields, dict):
        return {}
    return {
        str(name): np.asarray(leaf) for name, leaf in fields.items() if isinstance(leaf, jax.Array)
    }


def _place(finding: Finding) -> tuple:
    verdicts = {"found": 0, "undecided": 1, "clear": 2}
    severities = {"severe": 0, "mild": 1, "none": 2}
    # By severity only where it is so.
    severity = severities[finding.severity] if finding.verdict == "found" else 0
    return verdicts[finding.verdict], severity, bool(finding.cause)


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("lstmgrad", "jax", "jaxlib", "equinox", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
