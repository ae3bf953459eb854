"""Recurrent layers of Hugging Face models against the library's own modules, and NumPy.

Where torch or transformers are absent the layers are held against NumPy alone.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hand import sigmoid

import lstmgrad as lg
from lstmgrad.interop import _transformers

T, LAYER = 12, 1


def mamba(library):
    sizes = {"hidden_size": 6, "state_size": 4, "intermediate_size": 10, "time_step_rank": 3}
    return library.MambaModel(library.MambaConfig(vocab_size=20, num_hidden_layers=2, **sizes))


def mamba_2(library):
    sizes = {"hidden_size": 8, "state_size": 4, "head_dim": 4, "num_heads": 4, "n_groups": 2}
    return library.Mamba2Model(library.Mamba2Config(vocab_size=20, num_hidden_layers=2, **sizes))


def recurrent_gemma(library):
    sizes = {"hidden_size": 8, "lru_width": 8, "num_attention_heads": 2, "intermediate_size": 16}
    return library.RecurrentGemmaModel(
        library.RecurrentGemmaConfig(vocab_size=20, num_hidden_layers=3, **sizes)
    )


def qwen3_next(library):
    linear = {"num_key_heads": 2, "num_value_heads": 4, "key_head_dim": 4, "value_head_dim": 3}
    experts = {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 8}
    config = library.Qwen3NextConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=4,
        shared_expert_intermediate_size=8,
        **{f"linear_{name}": size for name, size in linear.items()},
        **experts,
    )
    return library.Qwen3NextModel(config)


def rwkv(library):
    sizes = {"hidden_size": 6, "attention_hidden_size": 6, "intermediate_size": 8}
    return library.RwkvModel(library.RwkvConfig(vocab_size=20, num_hidden_layers=2, **sizes))


def xlstm(library):
    sizes = {"hidden_size": 16, "num_heads": 2}
    return library.xLSTMModel(library.xLSTMConfig(vocab_size=20, num_hidden_layers=2, **sizes))


def randomized(torch, net):
    """Numbers of the sizes that trained ones have, so that no term is hidden behind a zero."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, leaf in net.named_parameters():
            noise = torch.randn_like(leaf)
            if "time_mix" in name:
                leaf.copy_(torch.rand_like(leaf))
            elif "norm" in name or name.endswith(".D"):
                leaf.copy_(1 + 0.3 * noise)
            else:
                leaf.copy_(0.6 * noise * (leaf.shape[-1] ** -0.5 if leaf.ndim > 1 else 1))
    return net.eval()


def pass_through(torch, net, tokens):
    """What the mixer of a layer read and returned for the first sequence, and one gradient.

    The gradient is that of the last output, each number of it weighed, to all inputs.
    """
    kind = _transformers.KINDS[net.config.model_type]
    tensors = dict(net.state_dict())
    prefix = _transformers._layer_prefix(tensors, kind, LAYER)
    seen = {}

    def see(module, arguments, options, output):
        values = [value for value in (*arguments, *options.values()) if torch.is_tensor(value)]
        seen["inputs"], seen["outputs"] = values[0], output

    hook = net.get_submodule(prefix.rstrip(".")).register_forward_hook(see, with_kwargs=True)
    net(input_ids=tokens, use_cache=False)
    hook.remove()
    inputs, outputs = seen["inputs"], seen["outputs"]
    outputs = outputs[0] if isinstance(outputs, tuple) else outputs
    weights = torch.arange(1.0, 1 + outputs.shape[-1])
    (gradient,) = torch.autograd.grad(outputs[0, -1] @ weights, inputs)
    return [x[0].detach().numpy() for x in (inputs, outputs, gradient)]


@pytest.mark.parametrize(
    "make",
    [mamba, mamba_2, recurrent_gemma, qwen3_next, rwkv, xlstm],
    ids=lambda make: make.__name__,
)
def test_a_layer_runs_as_its_own_module_does(make, tmp_path):
    torch, library = pytest.importorskip("torch"), pytest.importorskip("transformers")
    net = randomized(torch, make(library))
    tokens = torch.randint(0, 20, (2, T))
    inputs, outputs, gradient = pass_through(torch, net, tokens)
    batch = {"input_ids": tokens, "use_cache": False}
    ours = lg.interop.layer_inputs(net, batch, layer=LAYER)[0]
    np.testing.assert_array_equal(ours, inputs)

    model = lg.interop.from_transformers(net, layer=LAYER)
    trajectory = lg.unroll(*model, ours)
    scale = np.abs(outputs).max()
    np.testing.assert_allclose(trajectory.states.h[1:], outputs, rtol=0, atol=1e-5 * scale)
    weights = jnp.arange(1.0, 1 + outputs.shape[-1], dtype=jnp.float32)
    found = jax.grad(lambda x: lg.unroll(*model, x).states.h[-1] @ weights)(ours)
    np.testing.assert_allclose(found, gradient, rtol=0, atol=1e-4 * np.abs(gradient).max())

    chain = lg.chain(model, ours, linearize=lg.linearize_one_sided)[2:]
    assert isinstance(chain, lg.OneSidedChain)
    heads = jax.vmap(lambda head: lg.backward_norms(head).log_norms)(chain.heads("s"))
    one = lg.interop.from_transformers(net, layer=LAYER, head=1)
    alone = lg.chain(one, ours, linearize=lg.linearize_one_sided)
    np.testing.assert_allclose(alone.trajectory.states.s, trajectory.states.s[:, 1], atol=1e-6)
    got = lg.backward_norms(alone[2:], of="s", wrt="s").log_norms
    np.testing.assert_allclose(got, heads[1], rtol=1e-4, atol=1e-4)

    net.save_pretrained(tmp_path)
    again = lg.interop.from_transformers(tmp_path, layer=LAYER)
    for name, leaf in model.params.items():
        np.testing.assert_array_equal(again.params[name], leaf)
    assert again.step is model.step


def folder_of_qwen3_next(path):
    """A folder with the weights of a single Gated DeltaNet, one key for two values."""
    safetensors = pytest.importorskip("safetensors.numpy")
    config = {
        "model_type": "qwen3_next",
        "linear_num_key_heads": 1,
        "linear_num_value_heads": 2,
        "linear_key_head_dim": 3,
        "linear_value_head_dim": 2,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
    }
    (path / "config.json").write_text(json.dumps(config))
    shapes = {
        "A_log": (2,),
        "dt_bias": (2,),
        "conv1d.weight": (10, 1, 2),
        "in_proj_qkvz.weight": (14, 4),
        "in_proj_ba.weight": (4, 4),
        "norm.weight": (2,),
        "out_proj.weight": (4, 4),
    }
    generator = np.random.default_rng(0)
    weights = {name: generator.normal(size=shape) for name, shape in shapes.items()}
    prefix = "model.layers.3.linear_attn."
    safetensors.save_file(
        {prefix + name: leaf for name, leaf in weights.items()}, path / "model.safetensors"
    )
    return weights


def test_a_gated_delta_net_from_its_folder(tmp_path):
    weights = folder_of_qwen3_next(tmp_path)
    model = lg.interop.from_transformers(tmp_path, layer=3)
    x = np.random.default_rng(1).normal(size=(5, 4))
    states = lg.unroll(*model, jnp.asarray(x)).states
    silu, before, s = lambda y: y * sigmoid(y), np.zeros(10), np.zeros((2, 2, 3))
    q = np.zeros(3)
    for t in range(5):
        projected, gates = (
            weights["in_proj_qkvz.weight"] @ x[t],
            weights["in_proj_ba.weight"] @ x[t],
        )
        kernel = weights["conv1d.weight"][:, 0]
        mixed, before = kernel[:, 0] * before + kernel[:, 1] * projected[:10], projected[:10]
        q, k, v = np.split(silu(mixed), [3, 6])
        q, k = (vector / np.sqrt(vector @ vector + 1e-6) for vector in (q, k))
        y = []
        for head in range(2):
            rate = np.log1p(np.exp(gates[2 + head] + weights["dt_bias"][head]))
            alpha, beta = np.exp(-np.exp(weights["A_log"][head]) * rate), sigmoid(gates[head])
            new = v[2 * head : 2 * head + 2]
            s[head] = alpha * s[head] @ (np.eye(3) - beta * np.outer(k, k)) + beta * np.outer(
                new, k
            )
            read = s[head] @ q / np.sqrt(3)
            read = weights["norm.weight"] * read / np.sqrt(np.mean(read**2) + 1e-6)
            y.append(read * silu(projected[10 + 2 * head : 12 + 2 * head]))
        want = weights["out_proj.weight"] @ np.concatenate(y)
        np.testing.assert_allclose(states.s[t + 1], s, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(states.h[t + 1], want, rtol=1e-12, atol=1e-12)
    one = lg.interop.from_transformers(tmp_path, head=1)
    alone = lg.unroll(*one, jnp.asarray(x)).states
    np.testing.assert_allclose(alone.s, states.s[:, 1], rtol=0, atol=1e-14)
    np.testing.assert_allclose(alone.h[-1], s[1] @ q / np.sqrt(3), rtol=1e-12, atol=1e-12)


def test_what_is_no_such_model_is_refused(tmp_path):
    folder_of_qwen3_next(tmp_path)
    for options, message in (
        ({"layer": 0}, "layer: expected one of the recurrent layers, 3, but got 0"),
        ({"head": 2}, "head: expected one of 0 to 1, the heads of the layer, or None"),
    ):
        with pytest.raises(ValueError, match=message):
            lg.interop.from_transformers(tmp_path, **options)
    for text, message in (
        ('{"model_type": "bert"}', "types mamba, .* but its configuration says 'bert'"),
        ("{", "config.json is JSON, but it is damaged"),
    ):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            lg.interop.from_transformers(tmp_path)
    with pytest.raises(ValueError, match="source: expected a live model of transformers, or the"):
        lg.interop.from_transformers(tmp_path / "nothing")
