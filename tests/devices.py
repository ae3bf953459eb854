"""What `test_devices` runs in processes of their own: JAX fixes its devices once.

python devices.py batch NAME...    readings of a batch, each device with its own sequences
python devices.py time             a product, each device with its own stretch of time
python devices.py weights          norms, each device with some rows of the weights
python devices.py process I PORT   process I of two (of one without a port), and its readings
"""

import json
import re
import sys
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import lstmgrad as lg

COLLECTIVE = re.compile(
    r"\b(?:all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute)(?:-start)?\("
)
SHARE = PartitionSpec("devices")


def cotangents(chain: lg.Chain) -> Any:
    return lg.loss_cotangents(lambda states: jnp.sum(jnp.sin(states.h)), chain.trajectory)


READINGS = {
    "backward_norms": lambda chain: lg.backward_norms(chain, of="c", wrt="c"),
    "forward_norms": lg.forward_norms,
    "norm_map": lambda chain: lg.norm_map(chain, of="h", wrt="h"),
    "matrix_free_norms": lambda chain: lg.matrix_free_norms(chain, (2, 4)),
    "forward_singular_spectrum": lg.forward_singular_spectrum,
    "lyapunov_spectrum": lg.lyapunov_spectrum,
    "route_shares": lambda chain: lg.route_shares(chain, lg.routes(chain)),
    "gain_budget": lg.gain_budget,
    "contributions": lambda chain: lg.contributions(chain, cotangents(chain)),
    "saliency": lambda chain: lg.saliency(chain, cotangents(chain)),
}


def model_and_inputs(count: int, hidden: int = 3) -> tuple[lg.Model, jax.Array]:
    cell = lg.cells.lstm(2, hidden, dtype=jnp.float64)
    inputs = jax.random.normal(jax.random.key(1), (count, 8, 2), "float64")
    return cell.model(cell.init(jax.random.key(0))), inputs


def mesh() -> jax.sharding.Mesh:
    return jax.make_mesh((jax.device_count(),), ("devices",), axis_types=(AxisType.Auto,))


def over_devices(read: Any) -> Any:
    """Each device with its own sequences."""
    both = {"in_specs": SHARE, "out_specs": SHARE, "check_vma": False}
    return jax.shard_map(jax.vmap(read), mesh=mesh(), **both)


def difference(one: Any, other: Any) -> float:
    """The largest one between two results, relative where they are large."""
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    largest = 0.0
    for left, right in ((np.asarray(a, "float64"), np.asarray(b, "float64")) for a, b in pairs):
        np.testing.assert_array_equal(np.isfinite(left), np.isfinite(right))
        known = np.isfinite(left)
        gap = np.abs(left - right)[known] / np.maximum(1, np.abs(left[known]))
        largest = max(largest, float(np.max(gap, initial=0)))
    return largest


def batch(names: list[str]) -> dict[str, Any]:
    model, inputs = model_and_inputs(8)
    spread, found = jax.device_put(inputs, NamedSharding(mesh(), SHARE)), {}
    for name in names:

        def read(inputs: jax.Array, name: str = name) -> Any:
            return eqx.filter(READINGS[name](lg.chain(model, inputs)), eqx.is_array)

        program = jax.jit(over_devices(read)).lower(spread).compile()
        text, result = program.as_text() or "", program(spread)
        leaves = [leaf for leaf in jax.tree.leaves(result) if jnp.ndim(leaf)]
        found[name] = {
            "collectives": len(COLLECTIVE.findall(text)),
            "devices": min(len(leaf.sharding.device_set) for leaf in leaves),
            "split": all(leaf.addressable_shards[0].data.shape[0] == 2 for leaf in leaves),
            "difference": difference(result, jax.jit(jax.vmap(read))(inputs)),
        }
    return found


def loops_with_collectives(text: str) -> list[str]:
    """The bodies of loops in which devices talk to one another."""
    bodies = set(re.findall(r"(?:body|condition)=%?([\w.\-]+)", text))
    inside, found = "", []
    for line in text.splitlines():
        head = re.match(r"^(?:ENTRY )?%?([\w.\-]+) .*\{$", line)
        inside = head[1] if head else inside
        if COLLECTIVE.search(line) and inside in bodies:
            found.append(inside)
    return found


def over_time() -> dict[str, Any]:
    model, _ = model_and_inputs(1)
    chain = lg.chain(model, jax.random.normal(jax.random.key(2), (32, 2), "float64"))
    factors = jax.device_put(chain.factors, NamedSharding(mesh(), SHARE))
    spread = eqx.tree_at(lambda chain: chain.factors, chain, factors)
    product: Any = eqx.filter_jit(lambda chain: lg.product(chain, method=lg.Method.blocked(8)))
    compiled = product.lower(spread).compile()
    text = getattr(compiled, "compiled", compiled).as_text()
    return {
        "loops": loops_with_collectives(text),
        "collectives": len(COLLECTIVE.findall(text)),
        "difference": difference(product(spread).log_abs(), lg.product(chain).log_abs()),
    }


def over_weights() -> dict[str, Any]:
    cell = lg.cells.rnn(4, 64, dtype=jnp.float64)
    params = cell.init(jax.random.key(0))
    inputs = jax.random.normal(jax.random.key(1), (6, 4), "float64")

    def read(params: Any) -> Any:
        found = lg.matrix_free_norms(lg.chain(cell.model(params), inputs), (6,), of="h", wrt="h")
        return found.log_norms

    spread = jax.device_put(params, NamedSharding(mesh(), SHARE))
    program = jax.jit(read).lower(spread).compile()
    sizes = re.findall(r"= f64\[([\d,]*)\]\S* all-gather", program.as_text() or "")
    return {
        "largest": max((int(np.prod([int(n) for n in s.split(",")])) for s in sizes), default=0),
        "difference": difference(program(spread), read(params)),
    }


def process(index: str, port: str = "") -> dict[str, Any]:
    if port:
        jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=int(index))
    model, inputs = model_and_inputs(4)

    def read(inputs: jax.Array) -> jax.Array:
        chain = lg.chain(model, inputs)
        norms = lg.backward_norms(chain).log_norms
        return jnp.concatenate([norms, lg.contributions(chain, cotangents(chain)).shares])

    sharding, every = NamedSharding(mesh(), SHARE), np.asarray(inputs)
    spread = jax.make_array_from_callback(every.shape, sharding, lambda index: every[index])
    found = jax.jit(over_devices(read))(spread)
    shards = sorted(found.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    rows = np.concatenate([np.asarray(shard.data) for shard in shards])
    return {"processes": jax.process_count(), "rows": [row.tobytes().hex() for row in rows]}


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_num_cpu_devices", int(rest.pop(0)) if what == "process" else 4)
    ways = {"time": over_time, "weights": over_weights}
    if what == "batch":
        print(json.dumps(batch(rest)))
    else:
        print(json.dumps(process(*rest) if what == "process" else ways[what]()))
