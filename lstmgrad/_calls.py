"""Calls that do not fit a function: one sentence that names the argument.

    backward_norms(chain, "h", "h")     options by position
    contributions(chain)                an argument is missing
    contributions(cotangents, chain)    two are exchanged

Nothing is looked at before the call; only one that failed is compared with the signature.
"""

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp

from lstmgrad._leaves import shown

P = ParamSpec("P")
R = TypeVar("R")


def public(function: Callable[P, R]) -> Callable[P, R]:
    """Returns the function, which answers a call that does not fit with one sentence.

    Args:
        function: any public function of the library.
    """

    @functools.wraps(function)
    def call(*data: P.args, **options: P.kwargs) -> R:
        try:
            return function(*data, **options)
        except (TypeError, ValueError, AttributeError) as error:
            check_call(function, data, options, error)
            raise

    return call


def check_call(
    function: Callable[..., Any],
    data: Sequence[Any],
    options: Mapping[str, Any],
    error: Exception,
) -> None:
    """Raises what is wrong with a call that failed, if it is the call itself.

    Args:
        function: what was called.
        data: its arguments by position.
        options: those by name.
        error: what it raised.
    """
    signature = inspect.signature(function)
    try:
        bound = signature.bind(*data, **options)
    except TypeError:
        sentence = _misfit(function.__name__, signature, data, options)
        if sentence is not None:
            raise TypeError(sentence) from None
        return
    if "key" in bound.arguments and not _is_key(bound.arguments["key"]):
        raise ValueError(
            f"key: expected a random key, but got {shown(bound.arguments['key'])}. "
            "jax.random.key(0) makes one."
        ) from error
    pair = _exchanged(signature, bound.arguments)
    if pair is not None:
        raise ValueError(
            f"{pair[0]}, {pair[1]}: expected them in this order, but got them the other way "
            "around. Exchange them."
        ) from error


def _misfit(
    name: str, signature: inspect.Signature, data: Sequence[Any], options: Mapping[str, Any]
) -> str | None:
    """What is wrong with the names and the number of the arguments."""
    parameters = list(signature.parameters.values())
    plain = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    named = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    places = [p.name for p in plain]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    if len(data) > len(places):
        return _too_many(name, places, named, data, options)
    unknown = [option for option in options if option not in signature.parameters]
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters):
        return _unknown(name, [*places[len(data) :], *named], unknown[0])
    twice = [place for place in places[: len(data)] if place in options]
    if twice:
        return f"{twice[0]}: expected one value, but got two, by position and by name. Drop one."
    needed = [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    missing = [
        p.name
        for p in parameters
        if p.name in needed and p.name not in (*places[: len(data)], *options)
    ]
    whole = [name if name in places else f"{name}=..." for name in needed]
    spread = _spread(places, data)
    if spread is not None:
        way = f"{name}({', '.join(spread)})"
        what = f"{type(data[0]).__name__} and {len(data) - 1} more"
        return f"{name}: expected {_listed(places)}, but got a {what}. Write {way}."
    return (
        f"{missing[0]}: expected a value, but got none. Write {name}({', '.join(whole)})."
        if missing
        else None
    )


def _too_many(
    name: str,
    places: Sequence[str],
    named: Sequence[str],
    data: Sequence[Any],
    options: Mapping[str, Any],
) -> str:
    """What to do about arguments by position that have to be named, or are too many."""
    extra, free = data[len(places) :], [option for option in named if option not in options]
    alone = f"{_listed(places)} alone" if len(places) == 1 else _listed(places) or "no argument"
    wanted = f"{name}: expected {alone}{' by position' if named else ''}, but got {len(data)}"
    got = f"{wanted} argument{'s' if len(data) > 1 else ''}."
    if len(extra) > len(free):
        return f"{got} Write {name}({', '.join(places)})."
    if all(shown(value) == repr(value) for value in extra):
        given = [f"{option}={shown(value)}" for option, value in zip(free, extra, strict=False)]
        return f"{got} Name the options: {name}({', '.join([*places, *given])})."
    return f"{got} Name the options: {', '.join(f'{option}=' for option in named)}."


def _unknown(name: str, known: Sequence[str], option: str) -> str:
    """What an option that does not exist was probably meant to be."""
    close = difflib.get_close_matches(option, known, 1)
    way = f"Did you mean {close[0]}=?" if close else "Leave it out."
    names = _listed([f"{one}=" for one in known])
    wanted = f"its option{'s' * (len(known) > 1)} {names}" if names else "no options"
    return f"{name}: expected {wanted}, but got {option}=. {way}"


def _spread(places: Sequence[str], data: Sequence[Any]) -> list[str] | None:
    """The call with the first argument, a record of the first few, taken apart."""
    fields = getattr(data[0], "_fields", ()) if data else ()
    if not fields or tuple(places[: len(fields)]) != fields:
        return None
    rest = places[len(fields) :]
    return [f"*{type(data[0]).__name__.lower()}", *rest] if len(rest) == len(data) - 1 else None


def _exchanged(signature: inspect.Signature, arguments: Mapping[str, Any]) -> tuple | None:
    """Two arguments, of which each is what the other should be."""
    names = list(arguments)
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            kinds = [signature.parameters[name].annotation for name in (first, second)]
            values = arguments[first], arguments[second]
            if _swapped(kinds, values):
                return first, second
    return None


def _swapped(kinds: Sequence[Any], values: Sequence[Any]) -> bool:
    """Whether a value is of the other one's class, and the other way around where that is known."""
    pairs = list(zip(kinds, values, strict=True))
    for (kind, own), (other_kind, other) in (pairs, pairs[::-1]):
        if _is_ours(kind) and not isinstance(own, kind) and isinstance(other, kind):
            return not _is_ours(other_kind) or isinstance(own, other_kind)
    return False


def _is_key(value: Any) -> bool:
    """Whether a value is a random key, of the new kind or the old, or several."""
    dtype = getattr(value, "dtype", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    return typed or (dtype == jnp.uint32 and jnp.ndim(value) > 0)


def _is_ours(kind: Any) -> bool:
    """Whether an annotation is a class of the library."""
    return isinstance(kind, type) and kind.__module__.startswith("lstmgrad")


def _listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
