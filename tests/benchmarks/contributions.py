"""What contributions cost against one gradient of the same loss: time in turn, and peak memory.

    python tests/benchmarks/contributions.py [--quick] [--repeats N]

An LSTM in float32 with as many inputs as units, a squared error at the last step. Time is compared
round by round, the ratio being the median (and the least) over rounds; memory is what the compiled
programs reserve for temporaries and results, next to the size of one gradient and of the
trajectory.
"""

import argparse
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from measure import Contender, interleave, machine, span

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

    chain = lg.chain(model, inputs)
    given = chain, lg.loss_cotangents(loss, chain.trajectory)
    return {
        "jax.grad": (jax.jit(jax.grad(whole)), (model.params, inputs)),
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


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run?")
    parser.add_argument("--repeats", type=int, default=25, help="rounds at most (25)")
    options = parser.parse_args()
    hidden, length = (16, 50) if options.quick else (128, 1000)
    table = contenders(hidden, length)
    timings = interleave(
        {
            name: Contender(((lambda f=f, arguments=arguments: f(*arguments), 1.0),))
            for name, (f, arguments) in table.items()
        },
        options.repeats,
    )
    _, (chain, _) = table["contributions"]
    print(machine())
    print(
        f"h = d = {hidden}, T = {length}; one gradient {megabytes(chain.model.params):.2f} MB, "
        f"trajectory {megabytes(chain.trajectory):.2f} MB"
    )
    floor = timings["jax.grad"].rounds
    print(f"{'':14} {'least':>9} {'median':>9} {'x grad':>7} {'least':>6} {'reserved':>9}")
    for name, (function, arguments) in table.items():
        rounds = timings[name].rounds
        ratios = rounds / floor[: len(rounds)]
        print(
            f"{name:14} {span(rounds.min()):>9} {span(np.median(rounds)):>9} "
            f"{np.median(ratios):7.2f} {rounds.min() / floor.min():6.2f} "
            f"{reserved(function, arguments):6.1f} MB"
        )


if __name__ == "__main__":
    main()
