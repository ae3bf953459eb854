"""The diagnosis, and the weights that a remedy makes."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import lstmgrad as lg
from lstmgrad._checks import require
from lstmgrad.cli._shared.command import Plan
from lstmgrad.cli._shared.console import say
from lstmgrad.cli._shared.error import CommandError
from lstmgrad.cli._shared.outputs import write_whole
from lstmgrad.cli.diagnose._options import Options
from lstmgrad.cli.diagnose._subject import Subject, subject_of
from lstmgrad.diagnosis import Diagnosis, Finding, Remedy
from lstmgrad.interop._weights import to_numpy


class Study(NamedTuple):
    """What was found.

    Attributes:
        diagnosis: all findings.
        about: where network, input and loss come from.
        strict: whether a severe finding is an exit code.
        weights: the file to write, its content, and what was changed; None for none.
    """

    diagnosis: Diagnosis
    about: dict[str, str]
    strict: bool
    weights: tuple[Path, bytes, str] | None


def plan(options: Options) -> Plan:
    """Returns the run that the options ask for."""
    try:
        require("jinja2", "report")
    except ImportError as error:
        raise CommandError(str(error).removesuffix(".")) from None
    subject = subject_of(options)
    return Plan(subject.summary(), lambda: measure(options, subject))


def measure(options: Options, subject: Subject) -> Study:
    """Returns the diagnosis, with the weights after a remedy where they are asked for."""
    chains = jax.vmap(lambda inputs: lg.chain(subject.model, inputs))(subject.inputs)
    cotangents = None
    if (loss := subject.loss) is not None:

        def of_one(chain: lg.Chain, answer: Any) -> Any:
            return lg.loss_cotangents(lambda states: loss(states, answer), chain.trajectory)

        cotangents = jax.vmap(of_one)(chains, subject.answers)
    found = lg.diagnose(chains, cotangents, lag=subject.lag, **subject.options)
    settings = found.settings._replace(loss=subject.about["Loss"])
    # A readout at random is the same in every sequence, and asks for nothing in particular.
    rules = [f for f in found if f.rule != "signal-to-noise" or options.loss != "every"]
    found = dataclasses.replace(found, findings=tuple(rules), settings=settings)
    weights = None
    if options.save_weights is not None:
        weights = _remedied(options, subject, found)
    return Study(found, subject.about, options.strict, weights)


def finish(study: Study) -> int:
    """Writes the weights after a remedy, and returns the exit code."""
    if study.weights is not None:
        path, content, what = study.weights
        write_whole(path.parent, {path.name: content})
        say(f"Wrote {path}: {what}")
    return int(study.strict and bool(study.diagnosis.severe))


def _remedied(options: Options, subject: Subject, found: Diagnosis) -> tuple[Path, bytes, str]:
    """The file with the weights after the remedy."""
    path, source, loaded = options.save_weights, options.source, subject.loaded
    assert path is not None
    assert source is not None
    assert loaded is not None
    if not path.parent.is_dir():
        raise CommandError(f"--save-weights: {path.parent} is not a directory")
    finding, remedy = _remedy(str(options.apply), found)
    params = jax.tree.map(np.asarray, remedy.apply(loaded.model.params))
    tensors: Any = loaded.tensors
    for prefix, part in loaded.parts_of(params):
        tensors = lg.interop.to_torch(
            part, tensors, prefix=prefix, layer=source.layer, direction=source.direction
        )
    changed = [name for name, value in tensors.items() if not _same(value, loaded.tensors[name])]
    what = f"{remedy.name} against {finding.rule}; changed {', '.join(changed) or 'nothing'}"
    return path, _content(path, tensors), what


def _remedy(wanted: str, found: Diagnosis) -> tuple[Finding, Remedy]:
    """The remedy that is named, or the first of a rule, among those that change parameters."""
    rule, _, name = wanted.partition(":")
    known = [
        (finding, remedy)
        for finding in found
        for remedy in finding.remedies
        if remedy.kind == "parameters"
    ]
    for finding, remedy in known:
        if finding.rule == rule and name in ("", remedy.name):
            return finding, remedy
    names = ", ".join(f"{finding.rule}:{remedy.name}" for finding, remedy in known)
    raise CommandError(
        f"--apply: expected {f'one of {names}' if names else 'a finding with a remedy'}, because "
        f"no other finding has a remedy that changes weights, but got {wanted}"
    )


def _same(value: np.ndarray, tensor: Any) -> bool:
    return bool(np.array_equal(value, np.asarray(tensor), equal_nan=True))


def _content(path: Path, tensors: dict[str, np.ndarray]) -> bytes:
    """The file of the tensors."""
    try:
        if path.suffix == ".safetensors":
            tidy = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
            return require("safetensors.numpy", "safetensors").save(tidy)
        torch = require("torch", "torch")
    except ImportError as error:
        raise CommandError(f"--save-weights: {error}".removesuffix(".")) from None
    import io

    # PyTorch takes no array of the narrow floats that NumPy does not know.
    known = {
        name: to_numpy(x, name) if x.dtype.isbuiltin == 2 else x for name, x in tensors.items()
    }
    buffer = io.BytesIO()
    torch.save({name: torch.from_numpy(value) for name, value in known.items()}, buffer)
    return buffer.getvalue()
