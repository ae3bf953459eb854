"""Modules of PyTorch as people have them, and what a recording of them is held against."""

import jax
import numpy as np
import pytest

import lstmgrad as lg

torch = pytest.importorskip("torch")
nn = torch.nn

D, H = 8, 4  # the second layer of two directions reads 2 H: one program for both layers
LENGTHS = (3, 5, 5, 3, 5, 3, 5, 5)
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


class Classifier(nn.Module):
    """Embedding, two bidirectional layers with dropout between, attention over steps, a head."""

    def __init__(self, kind: str, packed: bool):
        super().__init__()
        self.embedding = nn.Embedding(11, D)
        self.encoder = getattr(nn, kind)(
            D, H, 2, bidirectional=True, dropout=0.4, batch_first=packed
        )
        self.attention, self.head = nn.Linear(2 * H, 1), nn.Linear(4 * H, 5)
        self.packed = packed

    def forward(self, tokens, lengths):
        x = self.embedding(tokens)
        if self.packed:
            pack = nn.utils.rnn.pack_padded_sequence
            x = pack(x, lengths, batch_first=True, enforce_sorted=False)
        else:
            x = x.transpose(0, 1)
        outputs, last = self.encoder(x)
        self.outputs = outputs.data if self.packed else outputs
        if self.outputs.requires_grad:
            self.outputs.retain_grad()
        if self.packed:
            outputs, _ = nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True)
        else:
            outputs = outputs.transpose(0, 1)
        last = last[0] + last[1] if isinstance(last, tuple) else last  # the loss looks at c_n, too
        there = torch.arange(tokens.shape[1])[None] < lengths[:, None]
        scores = self.attention(outputs)[..., 0].masked_fill(~there, -torch.inf)
        read = (torch.softmax(scores, 1)[..., None] * outputs).sum(1)
        return self.head(torch.cat([read, last[0] + last[2], last[1] + last[3]], 1))


def classified(net):
    """A batch of eight unequal sequences, as (tokens, lengths), and the loss of a run over it."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(11, (len(LENGTHS), max(LENGTHS)), generator=generator)
    labels = torch.randint(5, (len(LENGTHS),), generator=generator)
    torch.manual_seed(7)  # of the masks
    return nn.functional.cross_entropy(net(tokens, torch.tensor(LENGTHS)), labels)


class Loop(nn.Module):
    """Two cells on top of each other in a Python loop, read where a loss may look."""

    def __init__(self, kind: str):
        super().__init__()
        self.lower, self.upper = (getattr(nn, kind)(size, H) for size in (D, H))
        self.states = []

    def forward(self, x):
        lower, upper, read = None, None, 0.0
        for step, one in enumerate(x):
            lower = self.lower(one, lower)
            h = lower[0] if isinstance(lower, tuple) else lower
            upper = self.upper(h, upper)
            top = upper if isinstance(upper, tuple) else (upper,)
            self.states.append([*(lower if isinstance(lower, tuple) else (lower,)), *top])
            for part in self.states[-1]:
                part.retain_grad()
            if step % 2:
                read = read + sum((part**2).sum() * (step + 1) for part in top)
            if step == 1:  # and the state of a cell, beside what the cell above reads
                read = read + self.states[-1][1].sin().sum()
        return read


def assert_near(got, expected, dtype="float64"):
    """Equal to the digits of the dtype, beside the largest number."""
    expected = np.asarray(expected.detach() if hasattr(expected, "detach") else expected)
    size = np.abs(expected).max()
    assert size > 0
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[dtype] * size)


all_gradients = jax.jit(jax.vmap(lambda *run: lg.contributions(*run).gradient))


def summed(run):
    """What all steps of all sequences add to the gradient: one program for all lengths."""
    found = all_gradients(run.chain(), run.cotangents())
    return jax.tree.map(lambda leaf: np.asarray(leaf).sum(0), found)


def assert_gradients(run, module, suffix="", dtype="float64"):
    """The sum is every recurrent parameter's .grad, that of both biases included."""
    params = summed(run)
    for name in ("weight_ih", "weight_hh"):
        assert_near(getattr(params, name), getattr(module, name + suffix).grad, dtype)
    outside, inside = (getattr(module, f"bias_{name}{suffix}").grad for name in ("ih", "hh"))
    assert_near(params.bias, outside, dtype)
    if hasattr(params, "bias_n"):
        assert_near(params.bias_n, inside[2 * H :], dtype)
