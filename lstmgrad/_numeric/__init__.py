"""Mathematics that knows no chain.

    scaled     numbers of unbounded range, mantissa · 2^exponent
    tracked    norms of matrices that change little from one to the next
    krylov     the search for the largest singular vectors behind it
    definite   whether a symmetric matrix is positive definite
    graded     matrices with one exponent per row, whose small singular values survive
    lapack     decompositions, one after the other where a batch is asked for
    frame      when a frame of tangents is made orthonormal, and what that costs

All of it works on plain arrays inside a compiled program.
"""
