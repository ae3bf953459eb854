"""Norms of a batch and of wide blocks against the bare products, and a batch over two devices.

The floor is what `rivals.floor` multiplies, for every sequence.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from measure import Contender, Row, Timing, in_child, interleave
from rivals import STEP, model

import lstmgrad as lg

INPUTS = 16


def contenders(hidden: int, length: int, batch: int) -> dict[str, Contender]:
    """The products alone, and ours from the inputs on.

    Args:
        hidden: units.
        length: T.
        batch: sequences.
    """
    params, start = model(hidden, INPUTS)
    inputs = jax.random.normal(jax.random.key(1), (batch, length, INPUTS), jnp.float32)
    blocks = jax.random.normal(jax.random.key(2), (batch, hidden, 4 * hidden), jnp.float32)

    @jax.jit
    def products(blocks: jax.Array, weight: jax.Array) -> jax.Array:
        def body(blocks: jax.Array, _: None) -> tuple[jax.Array, None]:
            after = jnp.matmul(blocks, weight, precision="highest")
            return jax.lax.dynamic_update_slice(blocks, after * 0.25, (0, 0, 0)), None

        return jax.lax.scan(body, blocks, None, length=length)[0]

    ours = jax.jit(jax.vmap(reading(lg.Model(STEP, params, start))))
    return {
        "products": Contender(((lambda: products(blocks, params.weight_hh), 1.0),)),
        "ours": Contender(((lambda: ours(inputs), 1.0),)),
    }


def reading(of: lg.Model) -> Callable[[jax.Array], lg.NormProfile]:
    """From the inputs of one sequence to its norms.

    Args:
        of: the model.
    """
    return lambda inputs: lg.backward_norms(lg.chain(of, inputs), of="c", wrt="c")


def against_products(hidden: int, length: int, batch: int, repeats: int) -> None:
    """The rows of one size.

    Args:
        hidden: units.
        length: T.
        batch: sequences.
        repeats: rounds at most.
    """
    timings = interleave(contenders(hidden, length, batch), repeats)
    part = f"{'batch' if batch > 1 else 'block'}-{hidden}-{length}"
    for name, timing in timings.items():
        row = Row(part, name, timing, floor=timings["products"], remark=f"{batch} sequences")
        if name == "ours":
            met = float(np.mean(timing.results[0].resolved))
            row = row._replace(met=met, compile=max(timing.first - timing.median, 0.0))
        row.print()


def over_devices(hidden: int, length: int) -> None:
    """A batch of 64 on one device of a processor, and on two that share its cores.

    Args:
        hidden: units.
        length: T.
    """
    found: Any = in_child("devices", hidden, length)
    if found is not None:
        one, two = (Timing(times[0], np.asarray(times[1:]), []) for times in found["seconds"])
        Row(f"devices-{hidden}-{length}", "one device", one, floor=one).print()
        Row(f"devices-{hidden}-{length}", "two devices", two, floor=one).print()


def child(_part: str, hidden: str, length: str) -> dict[str, Any]:
    """The seconds of one device and of two, in turn.

    Args:
        _part: of the table.
        hidden: units.
        length: T.
    """
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 2)
    mesh = jax.make_mesh((2,), ("devices",), axis_types=(AxisType.Auto,))
    split = PartitionSpec("devices")
    of_all = jax.vmap(reading(lg.Model(STEP, *model(int(hidden), INPUTS))))
    inputs = jax.random.normal(jax.random.key(1), (64, int(length), INPUTS), jnp.float32)
    shared = jax.shard_map(of_all, mesh=mesh, in_specs=split, out_specs=split, check_vma=False)
    runs = (
        (jax.jit(of_all), inputs),
        (
            jax.jit(shared),
            jax.device_put(inputs, NamedSharding(mesh, split)),
        ),
    )
    seconds: tuple[list[float], ...] = [], []
    for _ in range(6):
        for (run, given), times in zip(runs, seconds, strict=True):
            start = time.perf_counter()
            jax.block_until_ready(run(given))
            times.append(time.perf_counter() - start)
    return {"seconds": seconds}


def parts(quick: bool, repeats: int) -> dict[str, Callable[[], None]]:
    """The parts of the table by name.

    Args:
        quick: small sizes.
        repeats: rounds.
    """
    sizes = [(40, 20, 2)] if quick else [(256, 100, 64), (2048, 300, 1)]
    table: dict[str, Callable[[], None]] = {
        f"{'batch' if B > 1 else 'block'}-{h}-{T}": (
            lambda h=h, T=T, B=B: against_products(h, T, B, repeats)
        )
        for h, T, B in sizes
    }
    h, T = (8, 10) if quick else (128, 50)
    table[f"devices-{h}-{T}"] = lambda: over_devices(h, T)
    return table
