"""Parameters back among the tensors that they came from, under PyTorch's names."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np

from lstmgrad._calls import public
from lstmgrad._types import Params
from lstmgrad.cells import GRUParams, LSTMParams, RNNParams
from lstmgrad.interop._checks import check_direction
from lstmgrad.interop._torch import ProjectedLSTMParams, from_torch
from lstmgrad.interop._torch_networks import find_network
from lstmgrad.interop._weights import read_tensors, to_numpy


@public
def to_torch(
    params: Params,
    source: Any,
    *,
    prefix: str | None = None,
    layer: int | None = None,
    direction: Literal["forward", "reverse"] | None = None,
    unused: Sequence[str] = (),
) -> dict[str, np.ndarray]:
    """Returns the tensors of a source with a network's weights replaced: the way back.

    Args:
        params: like those that `from_torch` gives with the same source and options, changed.
        source: as for `from_torch`; it stays as it is.
        prefix: as for `from_torch`.
        layer: as for `from_torch`.
        direction: as for `from_torch`.
        unused: as for `from_torch`; these tensors stay as they are.

    Returns:
        Arrays by name, those of everything else in the source among them, for
        ``module.load_state_dict({name: torch.from_numpy(x) for name, x in found.items()})`` or
        ``safetensors.numpy.save_file``. A bias that is changed stands in `bias_ih`, and `bias_hh`
        is zero there; all that is not changed keeps its bits. Tensors of PyTorch in floats that
        NumPy does not know, and quantized ones, become float32.

    Raises:
        ImportError: the library that reads the source is not installed.
        ValueError: as `from_torch`; the parameters are not like those of the source; a bias is
            changed where the network has none; the weights are stored in another form (weight norm,
            pruning), in which a change has no one place.

    Example:
        ```python
        model = lg.interop.from_torch(lstm)
        params = lg.cells.with_forget_bias(model.params, 3.0)
        found = lg.interop.to_torch(params, lstm)
        ```

        >>> shapes = {"weight_ih_l0": (12, 2), "weight_hh_l0": (12, 3)}
        >>> shapes |= {"bias_ih_l0": (12,), "bias_hh_l0": (12,)}
        >>> weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        >>> params = lg.cells.with_forget_bias(lg.interop.from_torch(weights).params, 3.0)
        >>> lg.interop.to_torch(params, weights)["bias_ih_l0"][3:6].tolist()
        [3.0, 3.0, 3.0]
    """
    tensors = read_tensors(source)
    prefix, network = find_network(tensors, prefix, unused)
    check_direction(direction, network.bidirectional, "the network")
    activation = jax.nn.relu if network.gates == 1 else None  # either has the same parameters
    known = from_torch(
        tensors,
        prefix=prefix,
        layer=layer,
        direction=direction,
        activation=activation,
        unused=unused,
    ).params
    _check_like(params, known)
    side = direction or "forward"
    chosen = range(len(network.layers)) if layer is None else [layer]
    parts = [params] if len(chosen) == 1 else list(params)
    found = {name: _array(tensor, name) for name, tensor in tensors.items()}
    for index, part in zip(chosen, parts, strict=True):
        leaves = network.layers[index][side]
        for leaf, value in _leaves_of(part, leaves).items():
            name = _name_of(tensors, prefix, leaf, index, side)
            found[name] = value.astype(found[name].dtype)
    return found


def _array(tensor: Any, name: str) -> np.ndarray:
    """A tensor as an array in its own dtype, where NumPy has that."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        narrow = tensor.is_floating_point() and str(tensor.dtype) != "torch.float16"
        if tensor.is_quantized or (narrow and tensor.element_size() < 4):
            return to_numpy(tensor, name)
        tensor = tensor.numpy()
    return np.array(tensor)


def _leaves_of(params: Any, leaves: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What becomes of the arrays of one layer in one direction.

    Args:
        params: of the layer.
        leaves: its arrays as they are, by PyTorch's name.
    """
    found = {}
    if isinstance(params, ProjectedLSTMParams):
        found["weight_hr"], params = np.asarray(params.weight_hr), params.lstm
    assert isinstance(params, RNNParams | LSTMParams | GRUParams)
    found["weight_ih"], found["weight_hh"] = map(np.asarray, (params.weight_ih, params.weight_hh))
    dtype, rows = leaves["weight_hh"].dtype, len(leaves["weight_hh"])
    bias, none = np.asarray(params.bias).astype(dtype), np.zeros(rows, dtype)
    first, second = (leaves.get(name, none) for name in ("bias_ih", "bias_hh"))
    changed = bias != first + second
    inside = np.zeros(rows, dtype)
    if isinstance(params, GRUParams):
        # The two biases of the candidate stand for themselves.
        last = slice(rows - len(params.bias_n), rows)
        inside[last] = np.asarray(params.bias_n).astype(dtype)
        changed[last] = True
    first, second = np.where(changed, bias, first), np.where(changed, inside, second)
    for name, value in (("bias_ih", first), ("bias_hh", second)):
        if name in leaves:
            found[name] = value
        elif value.any():
            raise ValueError(
                f"params: expected biases of zero, because the network in the source has no {name} "
                "to write them to, but got others. Make the network with bias=True."
            )
    return found


def _name_of(tensors: Mapping[str, Any], prefix: str, leaf: str, layer: int, side: str) -> str:
    """The name of an array in the source."""
    end = "_reverse" * (side == "reverse")
    for name in (f"{prefix}{leaf}_l{layer}{end}", f"{prefix}{leaf}"):
        if name in tensors:
            return name
    raise ValueError(
        f"source: expected {prefix}{leaf}_l{layer}{end} as it is used, to write to, but it is "
        "stored in another form, such as weight norm. Remove that from the module first."
    )


def _check_like(params: Any, known: Any) -> None:
    """Parameters with the structure and the shapes of those of the source."""
    shapes = [jax.tree.map(np.shape, tree) for tree in (params, known)]
    same = jax.tree.structure(params) == jax.tree.structure(known)
    if not same or shapes[0] != shapes[1]:
        raise ValueError(
            "params: expected parameters like those of from_torch with the same source and "
            f"options, {type(known).__name__}, but got {type(params).__name__}, or other shapes."
        )
