"""Chains of step Jacobians: how a model becomes one, and what moves through it.

    trajectory   s_t = step(params, s_{t-1}, x_t)                      the only scan of the model
    implicit     J_t = ds_t/ds_{t-1}, and `chain`, the way in          the only place of Jacobians
    factors      one J_t, as a push and a pull of rows; `linearity` of its backward rules
    elsewhere    what a step reads from closures, attributes and globals, as data of the chain
    modes        derivatives by the mode of differentiation that a step has
    saturation   slopes of tanh that hold where its value is 1; `half` precision held in float32;
                 `interpret` runs a jaxpr for both
    base         what every chain can do; `dense`, `diagonal`, `one_sided`, `stream` are other
                 kinds of it, and `probes` is how a wrong declaration is noticed
    layout       the state as a flat vector with named parts; `dependence` which act on which
    inputs       B_t = ds_t/dx_t, and the chain that has each input as a part of its state
    blocks       one block ∂of_t/∂wrt_k, with the parts that it takes
    sweeps       the only scans in which something moves through a chain
    propagate    pushes, pulls and blocks as arrays; `products` whole products

What can go wrong. The trajectory is the model's own, at its own precision: a chain along a
trajectory with NaN is NaN from there on. Jacobians are local: they say what an infinitesimal change
does along this one trajectory.
"""
