"""Writes data/torch.npz: PyTorch's own outputs and Jacobians, for machines without PyTorch.

    python tests/interop/torch_networks.py

Each network has random weights, biases included, in float64, and starts from a random state.
"""

from pathlib import Path

import numpy as np

T, H, D, P = 50, 4, 3, 2
FILE = Path(__file__).parent / "data" / "torch.npz"

# The class and its options.
NETWORKS = {
    "lstm": ("LSTM", {}),
    "lstm-no-bias": ("LSTM", {"bias": False}),
    "lstm-stack": ("LSTM", {"num_layers": 2}),
    "lstm-projected-stack": ("LSTM", {"num_layers": 2, "proj_size": P}),
    "lstm-both": ("LSTM", {"bidirectional": True}),
    "gru": ("GRU", {}),
    "gru-stack": ("GRU", {"num_layers": 2}),
    "gru-no-bias": ("GRU", {"bias": False}),
    "rnn-tanh": ("RNN", {}),
    "rnn-relu-both": ("RNN", {"nonlinearity": "relu", "bidirectional": True}),
}


def network(name, dtype):
    """A network, its random weights, and a start, one array a part, (layers and directions, h)."""
    import torch

    generator = np.random.default_rng(sorted(NETWORKS).index(name))
    kind, options = NETWORKS[name]
    module = getattr(torch.nn, kind)(D, H, dtype=dtype, **options)
    with torch.no_grad():
        for weight in module.parameters():
            value = 0.5 * generator.normal(size=weight.shape)
            if name == "rnn-relu-both":  # without this it would be dead after a few steps
                value = 0.3 * value if weight.ndim == 2 else value + 1
            weight.copy_(torch.tensor(value))
    count = module.num_layers * (1 + module.bidirectional)
    sizes = [module.proj_size or H, H][: 1 + (kind == "LSTM")]
    start = [torch.tensor(generator.normal(size=(count, size)), dtype=dtype) for size in sizes]
    inputs = torch.tensor(generator.normal(size=(T, D)), dtype=dtype)
    return module, start, inputs


def run(module, parts, inputs):
    """Outputs (T, ·) and the parts of the last state."""
    start = tuple(parts) if len(parts) == 2 else parts[0]
    outputs, last = module(inputs, start)
    return outputs, tuple(last) if len(parts) == 2 else (last,)


def measured(name, dtype):
    """All arrays of one network by name."""
    import torch

    module, start, inputs = network(name, dtype)
    outputs, _ = run(module, start, inputs)
    blocks = torch.autograd.functional.jacobian(
        lambda *parts: run(module, parts, inputs)[1], tuple(start)
    )
    blocks = blocks if isinstance(blocks[0], tuple) else ((blocks[0],),)
    arrays = {f"weights/{key}": value for key, value in module.state_dict().items()}
    arrays |= {"inputs": inputs, "outputs": outputs}
    for i, part in enumerate(start):
        arrays[f"start/{i}"] = part
        arrays |= {f"jacobian/{i}{j}": blocks[i][j] for j in range(len(start))}
    return {key: value.detach().numpy() for key, value in arrays.items()}


if __name__ == "__main__":
    import torch

    found = {
        f"{name}/{key}": value
        for name in NETWORKS
        for key, value in measured(name, torch.float64).items()
    }
    np.savez_compressed(FILE, **found)
