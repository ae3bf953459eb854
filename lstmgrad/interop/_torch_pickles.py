"""What a pickle of PyTorch says, read opcode by opcode; **nothing in it is ever called**.

A pickle is a program: its opcodes import names and call them. Here a name stays a name, and a call
becomes a record of what would have been called, but for the few names in `_torch_tensors.py`, each
a function of that file. So weights are read whatever objects lie beside them, without PyTorch.
"""

import io
import pickletools
from collections.abc import Callable
from typing import Any, NamedTuple

from lstmgrad.interop._torch_tensors import ITEMS, KNOWN, Storage, dtype_of

MOST_OPCODES = 1_000_000
"""Of a pickle, whose tensors lie elsewhere in the file: about thirty for each of them."""


class Name(NamedTuple):
    """Attributes: module and name of something that a pickle imports."""

    module: str
    name: str


class Thing:
    """An object that was not made: its class, what it would be called with, and its state."""

    def __init__(self, kind: Any, arguments: Any = ()):
        self.kind = ".".join(kind) if isinstance(kind, Name) else "object"
        self.arguments = arguments
        self.state: Any = None


def read_pickle(stream: io.BytesIO, storages: dict[str, Storage]) -> Any:
    """Returns what the next pickle of a stream holds: dicts, lists, tuples, plain values, records.

    Args:
        stream: at the pickle's first byte; it is left behind its last one.
        storages: by key, to which those of the pickle are added.

    Raises:
        ValueError: it is damaged, or has more than `MOST_OPCODES`.
    """
    machine = _Machine(storages)
    for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if count > MOST_OPCODES:
            raise ValueError("too much beside the tensors")
        if opcode.name == "STOP":
            return machine.stack.pop()
        machine.run(opcode.name, argument)
    raise ValueError("no end")


_MARK = object()
_VALUES = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": list,
    "MARK": lambda: _MARK,
}
_PUSHED = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}


class _Machine:
    """The stack and the memo of a pickle, and what each opcode does to them."""

    def __init__(self, storages: dict[str, Storage]):
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.storages = storages

    def run(self, opcode: str, argument: Any) -> None:
        """Carries out one opcode."""
        push, pop = self.stack.append, self.stack.pop
        match opcode:
            case "PROTO" | "FRAME":
                pass
            case _ if opcode in _PUSHED:
                push(argument)
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                push(_VALUES[opcode])
            case _ if opcode in _EMPTY:
                push(_EMPTY[opcode]())
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                push(self.memo[argument])
            case "DUP":
                push(self.stack[-1])
            case "POP":
                pop()
            case "POP_MARK":
                self.marked()
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                push(tuple(reversed([pop() for _ in range(int(opcode[-1]))])))
            case "TUPLE":
                push(tuple(self.marked()))
            case "LIST" | "FROZENSET":
                push(self.marked())
            case "DICT":
                push(_pairs(self.marked()))
            case "APPEND":
                self.extend([pop()])
            case "APPENDS" | "ADDITEMS":
                self.extend(self.marked())
            case "SETITEM":
                value, key = pop(), pop()
                self.update([key, value])
            case "SETITEMS":
                self.update(self.marked())
            case "GLOBAL":
                push(Name(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                name, module = pop(), pop()
                push(Name(str(module), str(name)))
            case "REDUCE" | "NEWOBJ":
                arguments, kind = pop(), pop()
                push(_made(kind, arguments))
            case "NEWOBJ_EX":
                _, arguments, kind = pop(), pop(), pop()
                push(Thing(kind, arguments))
            case "BUILD":
                state = pop()
                if isinstance(self.stack[-1], Thing):
                    self.stack[-1].state = state
            case "BINPERSID":
                push(self.persistent(pop()))
            case _:
                raise ValueError(f"opcode {opcode}")

    def persistent(self, identity: Any) -> Any:
        """What PyTorch writes outside of the pickle: a storage, or the class of a module."""
        match identity:
            case ("storage", Name(name=kind), str() as key, _, int(), *view) if view in (
                [],
                [None],
            ):
                item = ITEMS.get(kind.removesuffix("Storage"))
                self.storages[key] = Storage(key, dtype_of(item) if item else None)
                return self.storages[key]
            case ("module", Name() as kind, *_):
                return kind
        raise ValueError("a storage of another form")

    def marked(self) -> list[Any]:
        """Takes all that is above the last mark."""
        found = []
        while (value := self.stack.pop()) is not _MARK:
            found.append(value)
        return found[::-1]

    def extend(self, values: list[Any]) -> None:
        """Appends to the list on top; an object that is not made takes no notice."""
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(values)

    def update(self, flat: list[Any]) -> None:
        """Sets items of the dict on top; an object that is not made takes no notice."""
        if isinstance(self.stack[-1], dict):
            self.stack[-1].update(_pairs(flat))


def _pairs(flat: list[Any]) -> dict[Any, Any]:
    """Keys and values by turns as a dict, without keys that are no plain values."""
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return {key: value for key, value in pairs if isinstance(key, str | int | float)}


def _made(kind: Any, arguments: Any) -> Any:
    """What a call gives: that of a known function, or the record of an object not made."""
    known = KNOWN.get(kind) if isinstance(kind, Name) else None
    return Thing(kind, arguments) if known is None else known(*arguments)
