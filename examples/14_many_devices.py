"""A batch, a long time and wide weights over several devices.

Three ways to share the work among the cores of a processor or among GPUs, all of them JAX's own.

The batch. `jax.shard_map` around `jax.vmap` gives every device its own sequences, and no number
goes from one device to another: the compiled program is searched for collectives, and has none.
What comes out lies where it was made. (`jax.vmap` alone takes a sharded batch, too, but loops of
unknown length then wait for the slowest device at every turn.)

The time. The product of a long chain, ds_T/ds_0, as a product of stretches: with the states sharded
over time and ``lg.Method.blocked(T / devices)`` each device multiplies its own stretch, and an
associative scan over the devices multiplies those.

The weights. Rows of the weights on several devices, for a state that is too wide for one:
`matrix_free_norms` multiplies with them where they are, and sends vectors of h numbers around.

    python examples/14_many_devices.py --cpu-devices 4    four devices out of one processor
    python examples/14_many_devices.py                    all GPUs there are

Alt: Norms of 64 sequences by lag, each line in the color of the device that calculated it.
"""

import argparse
import time
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

import lstmgrad as lg

COLLECTIVES = (
    "all-reduce(",
    "all-gather(",
    "reduce-scatter(",
    "all-to-all(",
    "collective-permute(",
)

plt.style.use(["default", "lstmgrad.plot.paper"])
parser = argparse.ArgumentParser(description="Norms of a batch, each device with its own part.")
parser.add_argument("figure", nargs="?", default="many_devices.png", help="the file to write")
parser.add_argument("--small", action="store_true", help="a tiny run, to see that it works")
parser.add_argument("--cpu-devices", type=int, help="so many devices out of the processor")
args = parser.parse_args()
if args.cpu_devices:
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", args.cpu_devices)
count = len(jax.devices())
each, length, h, wide = (2, 40, 8, 16) if args.small else (16, 300, 16, 128)

mesh = jax.make_mesh((count,), ("devices",), axis_types=(jax.sharding.AxisType.Auto,))
split = NamedSharding(mesh, PartitionSpec("devices"))
print(f"{count} devices: {jax.devices()[0].device_kind}")

# The batch: each device has sequences of its own.
cell = lg.cells.lstm(3, h)
model = cell.model(cell.init(jax.random.key(0)))
inputs = jax.random.normal(jax.random.key(1), (each * count, length, 3))


def norms(inputs: jax.Array) -> lg.NormProfile:
    """‖dc_T/dc_k‖ of one sequence."""
    return lg.backward_norms(lg.chain(model, inputs), of="c", wrt="c")


share = PartitionSpec("devices")
# The check of what varies between devices does not know loops that start from constants.
everywhere = jax.shard_map(
    jax.vmap(norms), mesh=mesh, in_specs=share, out_specs=share, check_vma=False
)
program = jax.jit(everywhere).lower(jax.device_put(inputs, split)).compile()
text = program.as_text() or ""
found = sum(text.count(word) for word in COLLECTIVES)
profiles = program(jax.device_put(inputs, split))
start = time.perf_counter()
profiles = jax.block_until_ready(program(jax.device_put(inputs, split)))
print(
    f"batch: {len(inputs)} sequences of {length} steps in {time.perf_counter() - start:.2f} s, "
    f"{found} collectives, and the norms lie on {len(profiles.log_norms.devices())} devices"
)

# The time: each device has a stretch of the sequence.
chain = lg.chain(model, jax.random.normal(jax.random.key(2), (length * count, 3)))
sharded = eqx.tree_at(lambda chain: chain.factors, chain, jax.device_put(chain.factors, split))
product = lg.product(sharded, method=lg.Method.blocked(length))
alone = lg.product(chain)
size, other = (jnp.max(each.log_abs()) for each in (product, alone))
print(
    f"time: ln max |ds_T/ds_0| over {length * count} steps is {size:.3f}, by one device {other:.3f}"
)

# The weights: each device has some of the rows.
cell = lg.cells.rnn(count, wide * count)
params = cell.init(jax.random.key(3))
inputs = jax.random.normal(jax.random.key(4), (20, count))


def widest(params: Any) -> lg.NormProfile:
    """‖dh_20/dh_k‖ at two lags, by products with vectors alone."""
    return lg.matrix_free_norms(lg.chain(cell.model(params), inputs), (5, 20), of="h", wrt="h")


wider = widest(jax.device_put(params, split))
print(
    f"weights: ln norms of {wide * count} units at lags 5 and 20 are "
    f"{wider.log_norms[0]:.3f} and {wider.log_norms[1]:.3f}"
)

figure, ax = plt.subplots(figsize=(3.3, 2.5))
colors = plt.get_cmap("viridis")(np.linspace(0, 0.85, count))
for shard, color in zip(profiles.log_norms.addressable_shards, colors, strict=False):
    curves = np.asarray(shard.data).T / np.log(10)
    lines = ax.plot(np.arange(length + 1), curves, "-", color=color, linewidth=0.7)
    lines[0].set_label(str(shard.device))
ax.set(
    xlabel="lag $T - k$ (steps)",
    ylabel=r"$\log_{10}\,\|\partial c_T/\partial c_k\|_2$",
    title=f"{each * count} sequences, {found} collectives",
)
ax.legend(title="sequences on")
figure.savefig(args.figure)
