"""Mathematics that knows no chain.

    scaled     numbers of unbounded range, mantissa · 2^exponent
    tracked    norms of matrices that change little from one to the next
    subspace   the rounds that take the singular vectors of one to those of the next
    krylov     the search for them where the rounds would be many
    definite   whether a symmetric matrix is positive definite
    graded     matrices with one exponent per row, whose small singular values survive
    lapack     decompositions, one after the other where a batch is asked for
    frame      when a frame of tangents is made orthonormal, and what that costs

All of it works on plain arrays inside a compiled program.
"""
