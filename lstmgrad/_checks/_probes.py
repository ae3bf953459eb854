"""Stand-ins that a step is tried with: for a state of any structure, for a dict that is watched."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax

from lstmgrad._types import Inputs, Params, State, StepFn


class StateProbe:
    """Arrays that answer to any name, key or place: each new one gets the next array."""

    def __init__(self, leaves: list[Any]):
        self._leaves, self._names = leaves, {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._next(name)

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str | int):
            raise TypeError(key)
        return self._leaves[key] if isinstance(key, int) else self._next(key)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._leaves)

    def __len__(self) -> int:
        return len(self._leaves)

    def _next(self, name: str) -> Any:
        place = self._names.setdefault(name, len(self._names))
        if place >= len(self._leaves):
            raise AttributeError(name)
        return self._leaves[place]


class _Watched(dict):
    """A dict that remembers what was asked for, and not there."""

    def __init__(self, tree: Mapping[Any, Any]):
        super().__init__(tree)
        self.missing: list[Any] = []

    def __missing__(self, key: Any) -> Any:
        self.missing.append(key)
        raise KeyError(key)


def reads(step: StepFn, params: Params, state: State, x: Inputs) -> list[Any]:
    """The key that a step looks for at the top of its parameters and does not find there.

    Args:
        step: a step that fails.
        params: what it was given, like the rest.
        state: the state before.
        x: the input of one step.
    """
    watched = _Watched(params if isinstance(params, Mapping) else {})
    try:
        jax.eval_shape(lambda state, x: step(watched, state, x), state, x)
    except Exception:  # it fails, one way or another
        return watched.missing[:1]
    return []
