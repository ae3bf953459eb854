"""The same for weights of PyTorch, as code with the tensors named.

PyTorch stacks the gates of an LSTM in the order i, f, g, o and those of a GRU in the order r, z, n,
and adds two biases: what is set in one is zero in the other. The name `state` is a state_dict, and
the suffix `_l0` the first layer.
"""

from lstmgrad._types import Params
from lstmgrad.cells import GRUParams, LSTMParams

_HEAD = "h = state['weight_hh_l0'].shape[1]"


def forget_bias_code(params: Params, bias: float) -> str:
    """Returns the code that sets one forget bias.

    Args:
        params: of an LSTM or a GRU; others have no code.
        bias: the bias.
    """
    gate = _gate(params)
    if gate is None:
        return ""
    lines = [
        _HEAD,
        f"state['bias_ih_l0'][h : 2 * h] = {bias:.6g}  # {gate}",
        "state['bias_hh_l0'][h : 2 * h] = 0.0",
    ]
    return "\n".join(lines)


def chrono_code(params: Params, max_lag: int) -> str:
    """Returns the code that draws chrono biases.

    Args:
        params: of an LSTM or a GRU; others have no code.
        max_lag: the longest dependency.
    """
    gate = _gate(params)
    if gate is None:
        return ""
    lines = [
        _HEAD,
        f"b = torch.empty(h).uniform_(1, {max_lag - 1}).log()",
        f"state['bias_ih_l0'][h : 2 * h] = b  # {gate}",
        "state['bias_hh_l0'][h : 2 * h] = 0.0",
    ]
    if isinstance(params, LSTMParams):
        lines += ["state['bias_ih_l0'][:h] = -b  # input gate", "state['bias_hh_l0'][:h] = 0.0"]
    return "\n".join(lines)


def gain_code(factor: float) -> str:
    """Returns the code that scales recurrent weights.

    Args:
        factor: by how much.
    """
    return f"state['weight_hh_l0'] *= {factor:.6g}"


def orthogonal_code(gain: float) -> str:
    """Returns the code that draws orthogonal recurrent weights.

    Args:
        gain: of all directions.
    """
    return f"torch.nn.init.orthogonal_(state['weight_hh_l0'], gain={gain:.6g})"


def identity_code() -> str:
    """Returns the code that makes the recurrent weights the identity."""
    return "torch.nn.init.eye_(state['weight_hh_l0'])"


def input_code(factor: float) -> str:
    """Returns the code that scales what the inputs do.

    Args:
        factor: by how much.
    """
    names = ("weight_ih_l0", "bias_ih_l0", "bias_hh_l0")
    return "\n".join(f"state['{name}'] *= {factor:.6g}" for name in names)


def bias_code() -> str:
    """Returns the code that sets all biases to zero."""
    return "\n".join(f"state['{name}'].zero_()" for name in ("bias_ih_l0", "bias_hh_l0"))


def clip_code(limit: float) -> str:
    """Returns the code that clips gradients.

    Args:
        limit: the largest norm.
    """
    return f"torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm={limit:.6g})"


def _gate(params: Params) -> str | None:
    if isinstance(params, LSTMParams):
        return "forget gate; order i, f, g, o"
    if isinstance(params, GRUParams):
        return "update gate, the share kept; order r, z, n"
    return None
