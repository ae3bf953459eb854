"""How far the gradient reaches: spectral norms of blocks of ds_t/ds_k over every lag.

    ‖∂of_t/∂wrt_k‖₂ = σ_max of J_t ··· J_{k+1}, restricted to the rows of `of`, the columns of `wrt`

`profiles` reads one norm per lag from a block that is pulled back from T or pushed forward from 0,
`inputs` the norm of what each input does to the end, `maps` every pair of times, `matrix_free`
chosen lags without a matrix; `decay` reads a rate and a horizon off a profile.

What can go wrong. The norm of a wide block is tracked from lag to lag, not decomposed: a lower
bound, whose error is proved for the product as it was rounded. A product whose factors undo one
another is mostly rounding, and no error field tells. Every row has one exponent: where an entry
that fell below the dtype's range beside the others may matter, the norm is marked as not resolved.
A saturated unit is no trap: slopes of tanh and the logistic function hold
to the last digits in float32, until they leave its range (tanh at |a| = 44, the logistic function
at 88), from where on they are zero.
"""
