"""What a head with the delta rule remembers, against what its gates say.

The memory of a Gated DeltaNet is a matrix, S' = S α (I - β k kᵀ) + β v kᵀ. How long it lasts is
often read off the gate α alone. But each new key also erases: the Jacobian α (I - β k kᵀ) of a step
has the norm α, while the product of such steps, whose keys point elsewhere each time, falls faster
than the product of the α.

On the left random keys of length 1 in 8 dimensions, α = 0.98 and β = 0.9: the gate alone has a
half-life of 34 steps, the memory one of about 10. On the right a head of 16 units as it starts,
with a gate that is nearly open, on random inputs: what the gates keep, the direction of S that
lasts longest, and what is left of its first token, which is the difference of two runs.

Alt: Norms by lag, left of a memory of random keys, right of a head as it starts: the memory falls
faster than its gates alone, and the first token of the head with it.
"""

import argparse

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import lstmgrad as lg

plt.style.use(["default", "lstmgrad.plot.paper"])
parser = argparse.ArgumentParser(description="Memory under the delta rule, and what gates say.")
parser.add_argument("figure", nargs="?", default="delta_rule.png", help="the file to write")
parser.add_argument("--small", action="store_true", help="a tiny run, to see that it works")
args = parser.parse_args()
length, units, draws = (8, 4, 4) if args.small else (100, 16, 64)
ALPHA, BETA, KEYS, D = 0.98, 0.9, 8, 32


def erase(params, s, k):
    """What a step keeps of one row of S; what it writes does not depend on the row."""
    return ALPHA * (s - BETA * k * (k @ s))


@jax.jit
@jax.vmap
def random_keys(key):
    """The norms of the memory, with keys at random."""
    keys = jax.random.normal(key, (min(length, 50), KEYS))
    keys = keys / jnp.linalg.norm(keys, axis=1, keepdims=True)
    return lg.forward_norms(lg.chain(lg.Model(erase, None, jnp.zeros(KEYS)), keys))


@jax.jit
@jax.vmap
def head(key):
    """The norms of dS_t/dS_1, exact and by the gates, and what is left of the first token."""
    cell = lg.cells.gated_delta_net(D, units)
    params = cell.init(key)._replace(a_log=jnp.zeros(()), bias_alpha=jnp.asarray(-6.0))
    inputs = jax.random.normal(key, (length + 1, D))
    first = cell.step(params, cell.initial_state(), inputs[0])
    model = lg.Model(cell.step, params, first)
    chain = lg.chain(model, inputs[1:], linearize=lg.linearize_one_sided)
    gates = lg.routes(chain)["carry"]
    exact, alone = (lg.forward_norms(each, of="s", wrt="s") for each in (chain, gates))
    # S is linear in what was written: a run without the first token lacks this token alone.
    without = lg.unroll(cell.step, params, cell.initial_state(), inputs[1:])
    left = jnp.linalg.norm(chain.trajectory.states.s - without.states.s, axis=(1, 2))
    return exact, alone, left / left[0]


def half_lives(profile: lg.NormProfile) -> float:
    """The median over a batch, in steps."""
    return float(np.median(np.log(2) / np.asarray(jax.vmap(lg.decay_rate)(profile))))


keys = jax.random.split(jax.random.key(0), draws)
drawn, (exact, gates, token) = random_keys(keys), head(keys)
token = np.median(token, axis=0)
gone = np.flatnonzero(token < 0.5)

lives = [
    [float(np.log(2) / -np.log(ALPHA)), half_lives(drawn)],
    [half_lives(gates), half_lives(exact)],
]
print("Half-lives in steps, medians")
print(f"random keys   gates {lives[0][0]:5.1f}   memory {lives[0][1]:5.1f}")
print(f"a head        gates {lives[1][0]:5.1f}   memory {lives[1][1]:5.1f}", end="   ")
print(f"its first token is half gone after {gone[0] if gone.size else '>' + str(length)}")

figure, (left, right) = plt.subplots(1, 2, figsize=(6.9, 2.7), sharey=True)
lags = np.arange(length + 1)
short = np.asarray(drawn.lags[0])
left.plot(short, short * np.log10(ALPHA), color="C3", label="gates alone")
lg.plot.norms(drawn, ax=left, label="memory", color="C0")
lg.plot.norms(gates, ax=right, label="gates alone", color="C3")
lg.plot.norms(exact, ax=right, label="memory", color="C0")
right.plot(lags, np.log10(token), color="C2", linestyle="-.", label="its first token")
right.set_ylabel("")
names = "Random keys", "A Gated DeltaNet"
for axes, name, (alone, memory) in zip((left, right), names, lives, strict=True):
    axes.set_title(f"{name}: half-life {memory:.0f} steps, {alone:.0f} by the gates")
    axes.legend()
figure.savefig(args.figure)
