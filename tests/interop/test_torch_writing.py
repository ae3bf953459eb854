"""The way back: what was changed is read again, and what was not keeps its bits."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstmgrad as lg

D, H = 3, 2


def tensors(gates: int, layers: int = 1, sides: tuple[str, ...] = ("",)) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(gates)
    shapes = {"head.weight": (5, H), "count": ()}
    for layer in range(layers):
        for end in sides:
            shapes[f"net.weight_ih_l{layer}{end}"] = (gates * H, H * len(sides) if layer else D)
            shapes[f"net.weight_hh_l{layer}{end}"] = (gates * H, H)
            shapes[f"net.bias_ih_l{layer}{end}"] = (gates * H,)
            shapes[f"net.bias_hh_l{layer}{end}"] = (gates * H,)
    return {
        name: np.asarray(generator.normal(size=shape), np.float32) for name, shape in shapes.items()
    }


OPTIONS: dict[str, tuple[dict[str, np.ndarray], dict[str, Any], dict[str, Any]]] = {
    "lstm": (tensors(4), {}, {}),
    "gru": (tensors(3), {}, {}),
    "rnn": (tensors(1), {}, {"activation": jnp.tanh}),
    "stack": (tensors(4, layers=2), {}, {}),
    "layer": (tensors(4, layers=2), {"layer": 1}, {}),
    "reverse": (tensors(3, sides=("", "_reverse")), {"direction": "reverse"}, {}),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_what_was_changed_is_read_again_and_the_rest_keeps_its_bits(name):
    source, where, how = OPTIONS[name]
    params = lg.interop.from_torch(source, **where, **how).params
    same = lg.interop.to_torch(params, source, **where)
    assert list(same) == list(source)
    for key, value in source.items():
        assert same[key].dtype == value.dtype
        np.testing.assert_array_equal(same[key], value)
    changed = jax.tree.map(lambda leaf: 1.5 * leaf - 0.25, params)
    found = lg.interop.to_torch(changed, source, **where)
    again = lg.interop.from_torch(found, **where, **how).params
    for one, other in zip(jax.tree.leaves(again), jax.tree.leaves(changed), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(found["head.weight"], source["head.weight"])
    others = [
        key for key in source if key.startswith("net.") and not np.any(found[key] != source[key])
    ]
    expected = {"layer": 4, "reverse": 4}.get(name, 0)
    assert len(others) == expected


def test_a_bias_is_set_in_one_place_and_only_where_it_changed():
    source = OPTIONS["lstm"][0]
    params = lg.cells.with_forget_bias(lg.interop.from_torch(source).params, 3.0)
    found = lg.interop.to_torch(params, source)
    forget = slice(H, 2 * H)
    np.testing.assert_array_equal(found["net.bias_ih_l0"][forget], 3.0)
    np.testing.assert_array_equal(found["net.bias_hh_l0"][forget], 0.0)
    for name in ("net.bias_ih_l0", "net.bias_hh_l0"):
        np.testing.assert_array_equal(found[name][:H], source[name][:H])
        np.testing.assert_array_equal(found[name][2 * H :], source[name][2 * H :])


def test_a_single_cell_and_one_with_projections():
    cell = {name.removesuffix("_l0"): x for name, x in tensors(4).items()}
    params = lg.interop.from_torch(cell).params
    found = lg.interop.to_torch(jax.tree.map(jnp.ones_like, params), cell)
    assert (found["net.weight_hh"] == 1).all()
    projected = tensors(4)
    projected["net.weight_hh_l0"] = np.ones((4 * H, 1), np.float32)
    projected["net.weight_hr_l0"] = np.ones((1, H), np.float32)
    params = lg.interop.from_torch(projected).params
    found = lg.interop.to_torch(jax.tree.map(lambda leaf: 2 * leaf, params), projected)
    assert (found["net.weight_hr_l0"] == 2).all()


def test_refusals():
    source, to_torch = OPTIONS["lstm"][0], lg.interop.to_torch
    params = lg.interop.from_torch(source).params
    bare = {name: x for name, x in source.items() if "bias" not in name}
    with pytest.raises(ValueError, match=r"params: expected biases of zero.* no bias_ih to write"):
        to_torch(params, bare)
    with pytest.raises(ValueError, match="params: expected parameters like those of from_torch"):
        to_torch((params, params), source)
    normed = dict(source)
    weight = normed.pop("net.weight_hh_l0")
    normed["net.weight_hh_l0_v"] = weight
    normed["net.weight_hh_l0_g"] = np.linalg.norm(weight, axis=1, keepdims=True)
    with pytest.raises(ValueError, match="weight_hh_l0 as it is used, to write to"):
        to_torch(lg.interop.from_torch(normed).params, normed)
