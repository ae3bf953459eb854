"""Ten layers: the gradient's norm as a product of thirty factors, and what a skip connection does.

Through one layer h' = φ(W h) the norm of the Jacobian has three factors: the slope of φ, at most
1/4 for the sigmoid, the largest singular value of W, and how well the two are aligned, at most 1.
Ten layers multiply thirty of them, and hardly anything is left for the first one to learn from. A
residual layer, h' = h + φ(W h), is to depth what the LSTM's cell is to time.

Alt: Left, the gradient at the weights of ten layers: it falls by powers of ten toward the first
layer of the plain stack and hardly in the residual one. Right, what each layer of the plain stack
gains or loses, by slope and weights.
"""

import argparse

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import lstmgrad as lg

plt.style.use(["default", "lstmgrad.plot.paper"])
parser = argparse.ArgumentParser(description="The gradient through ten layers, factor by factor.")
parser.add_argument("figure", nargs="?", default="depth.png", help="the file to write")
parser.add_argument("--small", action="store_true", help="a tiny run, to see that it works")
args = parser.parse_args()
count, n = (3, 4) if args.small else (10, 64)
keys = jax.random.split(jax.random.key(0), 3)
weights = jax.random.normal(keys[0], (count, n, n)) / np.sqrt(n)
layers = lg.cells.stack_layers(list(weights))
start = lg.cells.layer_input(jax.random.normal(keys[1], (n,)), layers)
target = jax.random.normal(keys[2], (n,))


def run(step) -> tuple[lg.Chain, np.ndarray]:
    """The chain of the layers, and log10 of the gradient's norm at the weights of each."""
    # The weights of layer l are the input of step l.
    chain = lg.chain(lg.Model(step, None, start), layers)
    cotangents = lg.loss_cotangents(lambda states: jnp.vdot(target, states.h[-1]), chain.trajectory)
    found = lg.contributions(chain, cotangents)
    return chain, found.input_log_norms.weight / np.log(10)


plain, of_plain = run(lg.cells.plain_layer(jax.nn.sigmoid))
_, of_residual = run(lg.cells.residual_layer(jax.nn.sigmoid))
for chain in (plain[:1], plain):
    factors = lg.layer_factors(chain)
    print(f"{len(chain)} x 3 factors:  slope  sigma_max  alignment")
    for row in zip(factors.log_slopes, factors.log_weights, factors.log_alignments, strict=True):
        print(f"{'':13}" + "".join(f"{np.exp(log):10.4f}" for log in row))
    norm = jnp.linalg.norm(lg.jacobian(chain), 2)
    print(f"their product {np.exp(factors.log_norm):.4g}, norm of the Jacobian {norm:.4g}\n")

figure, (left, right) = plt.subplots(1, 2, figsize=(6.9, 2.6))
depths = np.arange(1, count + 1)
left.plot(depths, of_residual, "s--", color="C1", label=r"residual, $h + \sigma(W h)$")
left.plot(depths, of_plain, "o-", color="C0", label=r"plain, $\sigma(W h)$")
left.set(xlabel="layer $l$", ylabel=r"$\log_{10}\,\Vert dL/dW_l\Vert$")
left.set_title("Plain layers lose the gradient")
left.legend()
budget = lg.gain_budget(plain, through=["branch"])
lg.plot.gain_budget(budget, names={"branch": "slope", "state": "weights"}, ax=right)
right.set_title("What each layer of the plain stack loses")
right.set_xlabel("layer $l$")
right.set_ylabel(r"gain in layer $l$ ($\log_{10}$)")
figure.savefig(args.figure)
