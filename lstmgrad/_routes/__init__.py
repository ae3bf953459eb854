"""Through what the gradient came: tagged values, routes, shares, budgets.

    J_t = Σ_r J_t^r        `routes`: one chain per tagged value, the others held
    share_t^r              `shares`: what part of the whole came through r at step t
    Σ_t ln gain_t          `budget`: which step lost it, and in `layers` which factor of a layer

`tagged` runs a step with something done at its tagged values; `values` reads them.

What can go wrong. Tags that do not cut every path exactly once leave a rest, which is a route of
its own and never hidden. Shares are ratios of a bilinear form: they lose digits where the two
vectors are nearly orthogonal.
"""
