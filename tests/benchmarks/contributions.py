"""What contributions cost against one gradient of the same loss.

An LSTM in float32 with as many inputs as units, a squared error at the last step. The floor is
`jax.grad`. Beside it stand the same with its states checkpointed, and PyTorch's backward pass
through `nn.LSTM` where that is installed. Memory that the compiled programs reserve for temporaries
and results is in the remarks, next to the size of one gradient and of the trajectory.
"""

import importlib.util
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from measure import Contender, Row, beyond, in_child, interleave, peak_memory, small_product

import lstmgrad as lg


def contenders(hidden: int, length: int) -> dict[str, Any]:
    """The functions that are compared, and the arguments of each, by name.

    Args:
        hidden: units, and inputs.
        length: T.
    """
    cell = lg.cells.lstm(hidden, hidden, dtype=jnp.float32)
    keys = jax.random.split(jax.random.key(0), 3)
    model = cell.model(cell.init(keys[0]))
    inputs = jax.random.normal(keys[1], (length, hidden), jnp.float32)
    target = jax.random.normal(keys[2], (hidden,), jnp.float32)

    def loss(states: Any) -> jax.Array:
        return jnp.sum((states.h[-1] - target) ** 2)

    def whole(params: Any, inputs: Any) -> jax.Array:
        return loss(lg.unroll(model.step, params, model.state, inputs).states)

    def in_stretches(params: Any, inputs: Any) -> jax.Array:
        """The same with the states at the ends of about √T stretches kept."""
        size = max(k for k in range(1, math.isqrt(length) + 1) if length % k == 0)

        @jax.checkpoint
        def through(state: Any, some: Any) -> tuple[Any, None]:
            return jax.lax.scan(lambda s, x: (model.step(params, s, x), None), state, some)

        stretches = inputs.reshape(-1, size, hidden)
        last = jax.lax.scan(through, model.state, stretches)[0]
        return loss(jax.tree.map(lambda leaf: leaf[None], last))

    chain = lg.chain(model, inputs)
    given = chain, lg.loss_cotangents(loss, chain.trajectory)
    return {
        "jax.grad": (jax.jit(jax.grad(whole)), (model.params, inputs)),
        "jax.grad, checkpointed": (jax.jit(jax.grad(in_stretches)), (model.params, inputs)),
        "adjoint": (eqx.filter_jit(lg.adjoint), given),
        "contributions": (eqx.filter_jit(lg.contributions), given),
    }


def megabytes(tree: Any) -> float:
    """The size of all arrays."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree)) / 1e6


def reserved(function: Any, arguments: tuple) -> float:
    """MB that the compiled program needs for temporaries and results.

    Args:
        function: jitted.
        arguments: to compile it for.
    """
    compiled = function.lower(*arguments).compile()
    analysis = getattr(compiled, "compiled", compiled).memory_analysis()
    return (analysis.temp_size_in_bytes + analysis.output_size_in_bytes) / 1e6


def torch_backward(hidden: int, length: int) -> Callable[[], Any]:
    """One backward pass of PyTorch through an LSTM of the same sizes.

    Args:
        hidden: units, and inputs.
        length: T.
    """
    import torch

    device = "cuda" if jax.default_backend() == "gpu" and torch.cuda.is_available() else "cpu"
    net = torch.nn.LSTM(hidden, hidden).to(device)
    inputs, target = (torch.randn(size, device=device) for size in ((length, hidden), (hidden,)))

    def run() -> np.ndarray:
        loss = ((net(inputs)[0][-1] - target) ** 2).sum()
        found = torch.autograd.grad(loss, list(net.parameters()))
        return found[0].cpu().numpy()

    return run


def runs(hidden: int, length: int) -> dict[str, Callable[[], Any]]:
    """What is timed by name.

    Args:
        hidden: units, and inputs.
        length: T.
    """
    table: dict[str, Callable[[], Any]] = {
        name: lambda f=function, given=given: f(*given)
        for name, (function, given) in contenders(hidden, length).items()
    }
    if importlib.util.find_spec("torch") is not None:
        table["PyTorch backward"] = torch_backward(hidden, length)
    return table


def against_a_gradient(hidden: int, length: int, repeats: int) -> None:
    """The rows of one size.

    Args:
        hidden: units, and inputs.
        length: T.
        repeats: rounds at most.
    """
    table, programs = runs(hidden, length), contenders(hidden, length)
    chain = programs["contributions"][1][0]
    sizes = (
        f"gradient {megabytes(chain.model.params):.2f} MB, trajectory "
        f"{megabytes(chain.trajectory):.2f} MB"
    )
    timings = interleave({name: Contender(((run, 1.0),)) for name, run in table.items()}, repeats)
    for name, timing in timings.items():
        remark = sizes if name == "jax.grad" else ""
        if name in programs:
            remark = f"reserved {reserved(*programs[name]):.1f} MB; {remark}".removesuffix("; ")
        Row(
            f"contributions-{hidden}-{length}",
            name,
            timing,
            floor=timings["jax.grad"],
            compile=max(timing.first - timing.median, 0.0) if name in programs else None,
            peak=beyond(in_child("contributions", name, hidden, length)),
            remark=remark,
        ).print()


def child(_: str, name: str, hidden: str, length: str) -> dict[str, float]:
    """Runs one contender alone, and says what memory that took.

    Args:
        _: the part.
        name: of the contender.
        hidden: units, and inputs.
        length: T.
    """
    if "PyTorch" in name:
        __import__("torch")  # a large library: its own memory is not counted
    run, base = runs(int(hidden), int(length))[name], small_product()
    jax.block_until_ready(run())
    return {"beyond": peak_memory() - base}


def parts(quick: bool, repeats: int) -> dict[str, Callable[[], None]]:
    """The parts of the table by name.

    Args:
        quick: small sizes.
        repeats: rounds.
    """
    sizes = [(16, 50)] if quick else [(64, 1000), (128, 1000), (128, 4000), (256, 1000)]
    sizes += [] if quick else [(512, 100_000)]
    return {
        f"contributions-{h}-{T}": lambda h=h, T=T: against_a_gradient(h, T, max(repeats, 15))
        for h, T in sizes
    }
