"""Where the gradient of a trained PyTorch network goes: from a file of weights to its norms.

Give it a `.safetensors`, `.pt` or `.ckpt` file of an `nn.LSTM` or `nn.GRU` of any number of layers,
or nothing: then a small one is trained to recall its input of some steps ago, and is written in
PyTorch's layout first. Reading and writing take `pip install ".[safetensors]"`, and no PyTorch.

Alt: Norms by lag of each part of the two layers of a trained PyTorch LSTM, falling beyond the
eight steps that it was trained for.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import safetensors.numpy

import lstmgrad as lg

plt.style.use(["default", "lstmgrad.plot.paper"])
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("figure", nargs="?", default="trained_torch_lstm.png", help="file to write")
parser.add_argument("--weights", type=Path, help="a file of weights; by default one is made")
parser.add_argument("--small", action="store_true", help="a tiny run, to see that it works")
args = parser.parse_args()
LAG, BATCH = 8, 32
length, hidden, steps = (12, 4, 3) if args.small else (60, 32, 1500)


def random_weights() -> dict[str, np.ndarray]:
    """Two layers for one input feature, drawn as PyTorch draws them: uniform in ±1/√h."""
    generator = np.random.default_rng(0)
    shapes = {}
    for layer, width in ((0, 1), (1, hidden)):
        shapes[f"lstm.weight_ih_l{layer}"] = (4 * hidden, width)
        shapes[f"lstm.weight_hh_l{layer}"] = (4 * hidden, hidden)
        shapes[f"lstm.bias_ih_l{layer}"] = shapes[f"lstm.bias_hh_l{layer}"] = (4 * hidden,)
    shapes |= {"head.weight": (1, hidden), "head.bias": (1,)}
    bound = hidden**-0.5
    return {
        name: generator.uniform(-bound, bound, shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def trained(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights after Adam on recalling the input of LAG steps ago."""
    model = lg.interop.from_torch(weights)
    head = lg.interop.DenseParams(*(jnp.asarray(weights[f"head.{n}"]) for n in ("weight", "bias")))

    def loss(params, inputs):
        def of_one(sequence):
            states = lg.unroll(model.step, params[0], model.state, sequence).states
            recalled = jax.vmap(lambda state: lg.interop.dense(params[1], state))(states)
            return jnp.mean(jnp.square(recalled[1 + LAG :] - sequence[:-LAG]))

        return jnp.mean(jax.vmap(of_one)(inputs))

    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(5e-3))

    @jax.jit
    def update(params, state, key):
        inputs = jax.random.uniform(key, (BATCH, length, 1), minval=-1.0, maxval=1.0)
        value, gradients = jax.value_and_grad(loss)(params, inputs)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(params, updates), state, value

    params, value = (model.params, head), jnp.nan
    state = optimizer.init(params)
    for step in range(steps):
        params, state, value = update(params, state, jax.random.fold_in(jax.random.key(0), step))
    print(f"mean squared error after {steps} steps: {value:.4f}; {1 / 3:.4f} is that of nothing")
    layers, head = params
    after = {"head.weight": head.weight, "head.bias": head.bias}
    for index, layer in enumerate(layers):
        after[f"lstm.weight_ih_l{index}"] = layer.weight_ih
        after[f"lstm.weight_hh_l{index}"] = layer.weight_hh
        # PyTorch adds two biases up; all of it is in the first one here.
        after[f"lstm.bias_ih_l{index}"] = layer.bias
        after[f"lstm.bias_hh_l{index}"] = jnp.zeros_like(layer.bias)
    return {name: np.asarray(array) for name, array in after.items()}


path = args.weights or Path(args.figure).with_suffix(".safetensors")
if args.weights is None:
    safetensors.numpy.save_file(trained(random_weights()), path)
    print(f"wrote {path}")

model = lg.interop.from_torch(path)
features = jax.tree.leaves(model.params)[0].shape[1]  # weight_ih of the lowest layer
inputs = jax.random.uniform(jax.random.key(1), (4 * length, features), minval=-1.0, maxval=1.0)
chain = lg.chain(model, inputs)

figure, ax = plt.subplots(figsize=(3.3, 2.5))
horizons = []
for part in chain.layout.parts:
    profile = lg.backward_norms(chain, of=part, wrt=part)
    lg.plot.norms(profile, ax=ax, label=str(part))
    horizons.append(float(lg.horizon(profile)))
    print(f"{part:2}: horizon {horizons[-1]:.0f} steps")
trained_for = "" if args.weights else f", trained for {LAG}"
ax.set_title(f"Horizons of {min(horizons):.0f} to {max(horizons):.0f} steps{trained_for}")
ax.legend()
figure.savefig(args.figure)
