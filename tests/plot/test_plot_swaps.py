"""Swapped inputs drawn: the distances, the noise, and the exact zeros."""

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import lstmgrad as lg


def test_distances_and_noise_are_drawn_from_the_first_state_that_moves():
    distances = jnp.asarray([[0.0, 0.0, 1.0, 1e-2, 1e-4]], np.float32)
    noise = jnp.full(5, 1e-7, np.float32)
    ax = lg.plot.swap_response(lg.SwapResponse(distances, noise, at=1, of=None))
    drawn = [np.asarray(line.get_xydata()) for line in ax.lines]
    assert any(
        np.allclose(xy, [[2, 0], [3, -2], [4, -4]], atol=1e-6) for xy in drawn if len(xy) == 3
    )
    assert any(np.allclose(xy[:, 1], -7, atol=1e-6) for xy in drawn if len(xy) == 3)
    assert ax.get_ylabel() == r"$\log_{10}\,\Vert\Delta s_t\Vert_2$"
    # A second curve brings its own noise, which the legend names once.
    lg.plot.swap_response(lg.SwapResponse(distances, noise / 10, at=1, of="h"), ax=ax, label="h")
    labels = [line.get_label() for line in ax.lines]
    assert labels.count("what rounding may do") == 1
    batch = lg.SwapResponse(jnp.stack([distances] * 3), jnp.stack([noise] * 3), at=1, of=None)
    ax = lg.plot.swap_response(batch, ax=Figure().subplots())
    assert ax.lines[0].get_label() == f"median of {3 * len(distances)}"
