"""A PyTorch model as people have it, recorded while its own loss is differentiated.

An embedding, two LSTM layers with dropout between them, a head and a cross-entropy loss on a packed
batch of unequal sequences learn to name the first symbol. The training is PyTorch's own. A `with`
block around one loss and its backward pass records what each layer read and what came back to it,
and `lg.contributions` says what each step adds to the gradient of each layer, before the training
and after it. It takes `pip install ".[torch]"`.

Alt: What each step adds to the gradient in two layers of a PyTorch model: at initialization less
the earlier the step, after training in the lower layer about as much at the start as at the end.
"""

import argparse

import jax.numpy as jnp
import matplotlib.pyplot as plt

import lstmgrad as lg

try:
    import torch
except ImportError:
    raise SystemExit('This example needs PyTorch: pip install ".[torch]".') from None
from torch import nn

plt.style.use(["default", "lstmgrad.plot.paper"])
parser = argparse.ArgumentParser(description="A PyTorch model and its own loss.")
parser.add_argument("figure", nargs="?", default="your_own_model.png", help="the file to write")
parser.add_argument("--small", action="store_true", help="a tiny run, to see that it works")
args = parser.parse_args()
longest, units, steps = (8, 4, 3) if args.small else (12, 32, 300)
SYMBOLS, BATCH = 8, 64


class Recall(nn.Module):
    """Reads a packed batch of symbols, and names the first one."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS, units)
        self.encoder = nn.LSTM(units, units, 2, dropout=0.1, batch_first=True)
        self.head = nn.Linear(units, SYMBOLS)

    def forward(self, symbols, lengths):
        """Scores for each sequence."""
        x = nn.utils.rnn.pack_padded_sequence(
            self.embedding(symbols), lengths, batch_first=True, enforce_sorted=False
        )
        _, (last, _) = self.encoder(x)
        return self.head(last[-1])


def loss_of_a_batch(net):
    """The model's own loss, on new sequences of which the first one is the longest."""
    symbols = torch.randint(SYMBOLS, (BATCH, longest))
    lengths = torch.randint(longest // 2, longest + 1, (BATCH,))
    lengths[0] = longest
    return nn.functional.cross_entropy(net(symbols, lengths), symbols[:, 0])


torch.manual_seed(0)
net = Recall()
optimizer = torch.optim.Adam(net.parameters(), 1e-2)
figure, axes = plt.subplots(1, 2, sharey=True, figsize=(6.9, 2.6))
quarter = longest // 4
for ax, title in zip(axes, ("At initialization", f"After {steps} steps"), strict=True):
    net.zero_grad()
    with lg.interop.record(net) as recording:
        loss = loss_of_a_batch(net)
        loss.backward()
    shares = []
    for layer in (0, 1):
        run = recording.run("encoder", layer=layer)
        found = lg.contributions(run.chain(0), run.cotangents(0))
        lg.plot.contributions(found, ax=ax, label=f"layer {layer}")
        shares.append(float(jnp.sum(found.shares[:quarter])))
        print(
            f"{title}: loss {loss.item():.3f}, layer {layer}: {shares[-1]:.3f} from {quarter} steps"
        )
    share = f"{shares[0]:.0%}" if shares[0] >= 0.005 else "<1%"
    ax.set_title(f"{title}: {share} of layer 0 from steps 1 to {quarter}")
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of_a_batch(net).backward()
        optimizer.step()
axes[0].legend()
figure.savefig(args.figure)
