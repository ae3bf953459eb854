"""What each step adds to the gradient of a loss.

    λ_t = dL/ds_t                                   `adjoint`
    g_t = λ_t ∂step/∂θ,   dL/dθ = Σ_t g_t           `contributions`, by loss and step in `maps`
    ‖g - g_L‖/‖g‖ when cut after L steps            `truncation`
    λ_t ∂s_t/∂x_t, what every input means           `saliency`
    Ω, how far steps are from isometries            `regularizer`

`local` is one step as a function of parameters and input, `groups` the gradient by groups of parts
that act on one another.

What can go wrong. A loss that is a sum over time has contributions to each of its terms, which may
cancel in the sum: a small share is not a small contribution. What lies below the rounding of the
largest part keeps its logarithm and is lost in the sum.
"""
