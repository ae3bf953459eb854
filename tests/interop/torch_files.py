"""Writes data/torch_files.npz: files that PyTorch writes, and the weights that it reads from them.

    python tests/interop/torch_files.py        # with onnx beside PyTorch

All are of one small network, an LSTM under the name `rnn` and a readout, in the forms in which
people have it. Each file is an array of bytes.
"""

import argparse
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np

D, H = 2, 3
FILE = Path(__file__).parent / "data" / "torch_files.npz"


def stored() -> dict[str, np.ndarray]:
    """The arrays of the file: "file/NAME" is a file as bytes, "NAME/TENSOR" what is in it."""
    with np.load(FILE) as arrays:
        return dict(arrays)


def saved(value, **options) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def scripted(module) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    return buffer.getvalue()


def exported(module) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.onnx.export(module, (torch.zeros(4, 1, D),), buffer, dynamo=False)
    return buffer.getvalue()


def make_files():
    """Every file by name, and the weights of the network by form."""
    import torch

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.out = torch.nn.LSTM(D, H), torch.nn.Linear(H, 1)

        def forward(self, x):
            return self.out(self.rnn(x)[0])

    Net.__qualname__ = "Net"
    globals()["Net"] = Net
    torch.manual_seed(0)
    net = Net()
    weights = net.state_dict()
    quantize = torch.ao.quantization.quantize_dynamic
    integer = quantize(net, {torch.nn.LSTM})
    half = quantize(net, {torch.nn.LSTM}, dtype=torch.float16)
    both = quantize(
        torch.nn.Sequential(torch.nn.GRU(D, H, num_layers=2, bidirectional=True)), {torch.nn.GRU}
    )
    cell = quantize(torch.nn.Sequential(torch.nn.LSTMCell(D, H)), {torch.nn.LSTMCell})
    channels = torch.quantize_per_channel(
        weights["rnn.weight_hh_l0"],
        torch.linspace(0.01, 0.02, 4 * H),
        torch.arange(4 * H),
        0,
        torch.qint8,
    )
    narrow = {name: value.to(torch.float8_e4m3fn) for name, value in weights.items()}
    lightning = {"epoch": 3, "state_dict": weights, "callbacks": {}, "loops": {"fit_loop": {}}}
    files = {
        "state_dict": saved(weights),
        "legacy": saved(weights, _use_new_zipfile_serialization=False),
        "lightning": saved(lightning | {"hyper_parameters": {"lr": 1e-3}}),
        "objects": saved(lightning | {"hyper_parameters": argparse.Namespace(lr=1e-3, path=FILE)}),
        "module": saved(net),
        "script": scripted(torch.jit.script(net)),
        "trace": scripted(torch.jit.trace(net, torch.zeros(4, 1, D), check_trace=False)),
        "half": saved({name: value.half() for name, value in weights.items()}),
        "bfloat16": saved({name: value.bfloat16() for name, value in weights.items()}),
        "float8": saved(narrow),
        "float64": saved({name: value.double() for name, value in weights.items()}),
        "quantized": saved(integer.state_dict()),
        "quantized module": saved(integer),
        "quantized script": scripted(torch.jit.script(integer)),
        "quantized half": saved(half.state_dict()),
        "quantized both": saved(both.state_dict()),
        "quantized cell": saved(cell.state_dict()),
        "quantized channels": saved(weights | {"rnn.weight_hh_l0": channels}),
    }
    stacks = {
        "onnx lstm": torch.nn.LSTM(D, H, num_layers=2),
        "onnx both": torch.nn.LSTM(D, H, num_layers=2, bidirectional=True),
        "onnx gru": torch.nn.GRU(D, H, num_layers=2, bias=False),
        "onnx rnn": torch.nn.RNN(D, H, nonlinearity="relu"),
    }
    files |= {name: exported(stack) for name, stack in stacks.items()}
    means = {name: stack.state_dict() for name, stack in stacks.items()} | {
        "plain": weights,
        "float8": {name: value.float() for name, value in narrow.items()},
        "quantized": integer.rnn.get_weight() | integer.rnn.get_bias(),
        "quantized half": half.rnn.get_weight() | half.rnn.get_bias(),
        "quantized both": both[0].get_weight() | both[0].get_bias(),
        "quantized cell": cell[0].get_weight() | cell[0].get_bias(),
        "quantized channels": {"weight_hh_l0": channels},
    }
    return files, means


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    files, means = make_files()
    found: dict[str, Any] = {
        f"file/{name}": np.frombuffer(data, np.uint8) for name, data in files.items()
    }
    for form, weights in means.items():
        for name, value in weights.items():
            value = value.dequantize() if value.is_quantized else value
            found[f"{form}/{name.removeprefix('rnn.')}"] = value.detach().float().numpy()
    np.savez_compressed(FILE, **found)
