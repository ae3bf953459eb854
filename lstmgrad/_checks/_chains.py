"""Chains, and what is pushed, pulled, tagged and read off them."""

from typing import Any

from lstmgrad._leaves import kind_of


def check_kind(value: Any, kind: type, argument: str) -> None:
    """An object of the library's own."""
    if not isinstance(value, kind):
        raise ValueError(
            f"{argument}: expected an lstmgrad {kind.__name__}, but got {kind_of(value)}: "
            f"{_KINDS[kind.__name__]}."
        )


_KINDS = {
    "Chain": "chain(model, inputs) makes one",
    "Model": "cell.model(params) and the functions of lstmgrad.interop make one, and so does "
    "Model(step, params, state)",
    "Trajectory": "unroll(step, params, state, inputs) makes one",
    "Task": "the functions of lstmgrad.tasks make one",
    "Fit": "lstmgrad.training.fit makes one",
    "TrainingState": "what fit passes to observe has one, and load returns one",
    "Diagnosis": "lstmgrad.diagnose makes one",
    "Evidence": "the evidence of a finding, by name, is made of them",
    "NormProfile": "backward_norms and forward_norms make one",
    "Growth": "Growth.product, Growth.geometric_mean and three more are what it may be",
    "LyapunovSpectrum": "lyapunov_spectrum makes one",
    "LyapunovVectors": "lyapunov_vectors makes one",
    "Method": "Method.sequential, Method.parallel and Method.blocked(block_size) are the methods",
}


def check_not_empty(length: int) -> None:
    """The chain has at least one step."""
    if length == 0:
        raise ValueError("chain: expected at least one step, but got T = 0.")


def check_tags(names: list[str], reserved: tuple[str, ...]) -> list[str]:
    """The step has tags, none of them with the name of a rest."""
    if not names:
        raise ValueError(
            "step: expected values marked with lstmgrad.tag(value, name), because routes are named "
            "after them, but the step has no tag."
        )
    for name in names:
        if name in reserved:
            raise ValueError(
                f"step: expected no tag named {name!r}, because routes(chain) uses that name for "
                "what is left over, but got one. Rename it."
            )
    return names
