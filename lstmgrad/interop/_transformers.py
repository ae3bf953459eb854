"""Recurrent layers of Hugging Face models, from a live model or from its folder.

A model has a mixer in each of its layers: what mixes tokens over time. `from_transformers` makes a
model of one of them out of its weights, and `layer_inputs` says what it read in a forward pass.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._calls import public
from lstmgrad._checks import require
from lstmgrad._leaves import kind_of, shown
from lstmgrad._model import Model
from lstmgrad.interop import _mixers_memory, _mixers_ssm
from lstmgrad.interop._mixers import Build
from lstmgrad.interop._weights import read_tensors, to_numpy


class Kind(NamedTuple):
    """Where a kind of model has its recurrent layers.

    Attributes:
        module: what the mixer is called inside of a layer.
        marker: a tensor that no other module of that name has.
        build: makes the model of it.
    """

    module: str
    marker: str
    build: Build


KINDS = {
    "mamba": Kind("mixer", "A_log", _mixers_ssm.mamba),
    "mamba2": Kind("mixer", "A_log", _mixers_ssm.mamba_2),
    "recurrent_gemma": Kind(
        "temporal_block", "rg_lru.recurrent_param", _mixers_ssm.recurrent_gemma
    ),
    "qwen3_next": Kind("linear_attn", "A_log", _mixers_memory.qwen3_next),
    "rwkv": Kind("attention", "time_decay", _mixers_memory.rwkv),
    "xlstm": Kind("mlstm_layer", "out_proj.weight", _mixers_memory.xlstm),
}
"""By the `model_type` of the configuration."""


@public
def from_transformers(source: Any, *, layer: int | None = None, head: int | None = None) -> Model:
    """Returns a recurrent layer of a Hugging Face model as a model.

    Args:
        source: a live model of `transformers`: Mamba, Mamba-2, RecurrentGemma, Qwen3-Next (its
            Gated DeltaNet layers), RWKV (version 4) or xLSTM, with or without a head for language;
            or the folder with its `config.json` and its weights, which is read without
            `transformers` and without PyTorch.
        layer: counted from 0, as the model counts them; None if only one is recurrent.
        head: one head, or one channel where channels do not mix (Mamba, RecurrentGemma, RWKV);
            None is all of them.

    Returns:
        `Model` whose input is what the layer reads of one token, (d,), behind the norm in front of
        it: `layer_inputs` has it. The parts of its state are

        - h, the output, which no step reads: (d,), or (d_v,) of one head, in front of the gates,
          norms and projections that mix heads;
        - s, the memory: (heads, d_v, d_k), or (d_v, d_k) of one head. Where channels do not mix,
          each is a head with d_v = 1;
        - window, the last inputs of the short convolution (Mamba, Mamba-2, RecurrentGemma,
          Qwen3-Next), last, the token before (RWKV), position, the number of tokens
          (RecurrentGemma), n and m, normalizer and stabilizer, which is held (xLSTM, RWKV).

        The parameters are the layer's own tensors by their names.

    Raises:
        ImportError: the weights are in `.safetensors` files and `safetensors` is not installed.
        ValueError: the source is not such a model, or has no such layer or head.

    Notes:
        Every memory is multiplied from the right: ``linearize=lg.linearize_one_sided``, and
        ``chain.heads("s")`` for the horizon of each head or channel. Calculated in the precision of
        the weights, half precision in float32. Routes: "carry" through s, with the delta rule
        "erase", too; "window", "shift" and "normalizer".

    Example:
        ```python
        model = lg.interop.from_transformers(net, layer=0, head=3)
        inputs = lg.interop.layer_inputs(net, tokens, layer=0)[0]  # of the first sequence
        chain = lg.chain(model, inputs, linearize=lg.linearize_one_sided)
        lg.backward_norms(chain, of="s", wrt="s")
        ```

        >>> from pathlib import Path
        >>> from safetensors.numpy import save_file
        >>> folder = Path("rwkv")
        >>> folder.mkdir()
        >>> names = ("key", "value", "receptance", "output")
        >>> layer = {f"{name}.weight": np.eye(2, dtype=np.float32) for name in names}
        >>> layer |= {f"time_mix_{name}": np.ones((1, 1, 2), np.float32) for name in names[:3]}
        >>> layer |= {f"time_{name}": np.zeros(2, np.float32) for name in ("decay", "first")}
        >>> layer = {f"rwkv.blocks.0.attention.{name}": leaf for name, leaf in layer.items()}
        >>> save_file(layer, folder / "model.safetensors")
        >>> size = (folder / "config.json").write_text('{"model_type": "rwkv"}')
        >>> lg.unroll(*lg.interop.from_transformers(folder), inputs).states.s.shape
        (7, 2, 1, 1)

    References:
        Gu & Dao 2023 (arXiv:2312.00752); Dao & Gu 2024 (arXiv:2405.21060); De et al. 2024
        (arXiv:2402.19427); Yang, Kautz & Hatamizadeh 2025 (arXiv:2412.06464); Peng et al. 2023
        (arXiv:2305.13048); Beck et al. 2024 (arXiv:2405.04517).
    """
    config = _config_of(source)
    kind = _kind_of(config)
    tensors = read_tensors(source)
    prefix = _layer_prefix(tensors, kind, layer)
    weights = {
        name.removeprefix(prefix): jnp.asarray(to_numpy(tensor, name))
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    return kind.build(weights, config, head)


@public
def layer_inputs(model: Any, batch: Any, *, layer: int | None = None) -> Float[Array, "B T d"]:
    """Returns what a recurrent layer of a Hugging Face model reads in a forward pass.

    Args:
        model: a live model, as for `from_transformers`.
        batch: what it is called with: numbers of tokens (B, T), as a tensor, or a mapping of named
            arguments, as a tokenizer gives it.
        layer: as for `from_transformers`.

    Returns:
        (B, T, d), the inputs of the layer's model, one sequence after the other.

    Raises:
        ImportError: PyTorch is not installed.
        ValueError: as `from_transformers`; the layer did not run.

    Notes:
        One forward pass without gradients, in whatever mode the model is in (`model.eval()` leaves
        out dropout). Padding counts as tokens: leave it out.

    Example:
        ``layer_inputs(net, tokens, layer=0)[0]`` are the `inputs` of ``lg.chain(model, inputs)``.

        >>> import torch
        >>> from transformers import MambaConfig, MambaModel
        >>> sizes = {"hidden_size": 4, "state_size": 2, "intermediate_size": 8, "time_step_rank": 1}
        >>> net = MambaModel(MambaConfig(vocab_size=20, num_hidden_layers=1, **sizes))
        >>> lg.interop.layer_inputs(net, torch.arange(6)[None]).shape
        (1, 6, 4)
    """
    torch = require("torch", "torch")
    if not isinstance(model, torch.nn.Module):
        raise ValueError(f"model: expected a live model of transformers, but got {kind_of(model)}.")
    kind = _kind_of(_config_of(model))
    name = _layer_prefix(dict(model.state_dict()), kind, layer).rstrip(".")
    seen: list[Any] = []

    def see(module: Any, arguments: tuple, options: Mapping[str, Any]) -> None:
        tensors = [value for value in (*arguments, *options.values()) if torch.is_tensor(value)]
        seen.append(tensors[0].detach().clone())

    hook = model.get_submodule(name).register_forward_pre_hook(see, with_kwargs=True)
    try:
        with torch.no_grad():
            model(**batch) if isinstance(batch, Mapping) else model(batch)
    finally:
        hook.remove()
    if len(seen) != 1:
        raise ValueError(
            f"model: expected a forward pass in which {name} runs once, but it ran {len(seen)} "
            "times."
        )
    return jnp.asarray(to_numpy(seen[0], name))


def _config_of(source: Any) -> Mapping[str, Any]:
    """The configuration of a live model or of a folder; that of the text, if there are several."""
    config: Any = getattr(source, "config", None)
    if hasattr(config, "to_dict"):
        found = config.to_dict()
    elif isinstance(source, str | Path) and (Path(source) / "config.json").is_file():
        try:
            found = json.loads((Path(source) / "config.json").read_bytes())
        except (ValueError, RecursionError):
            raise ValueError(
                "source: expected a folder whose config.json is JSON, but it is damaged."
            ) from None
    else:
        raise ValueError(
            "source: expected a live model of transformers, or the folder with its config.json and "
            f"its weights, but got {shown(source)}."
        )
    inner = found.get("text_config") if isinstance(found, Mapping) else None
    return inner if isinstance(inner, Mapping) else found


def _kind_of(config: Mapping[str, Any]) -> Kind:
    name = str(config.get("model_type") if isinstance(config, Mapping) else None).removesuffix(
        "_text"
    )
    if name not in KINDS:
        raise ValueError(
            f"source: expected a model of one of the types {', '.join(KINDS)}, but its "
            f"configuration says {shown(name)}. Write any other layer as a step(params, state, x)."
        )
    return KINDS[name]


def _layer_prefix(tensors: Mapping[str, Any], kind: Kind, layer: Any) -> str:
    """What the names of the tensors of one mixer start with."""
    pattern = re.compile(rf"(?:.*\.)?(\d+)\.{kind.module}\.{re.escape(kind.marker)}")
    found = {
        int(match[1]): name.removesuffix(kind.marker)
        for name in tensors
        if (match := pattern.fullmatch(name))
    }
    if layer is None and len(found) == 1:
        return next(iter(found.values()))
    if isinstance(layer, bool) or layer not in found:
        known = ", ".join(map(str, sorted(found))) or "none"
        raise ValueError(
            f"layer: expected one of the recurrent layers, {known}, but got {shown(layer)}."
        )
    return found[layer]
