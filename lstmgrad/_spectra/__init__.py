"""How many directions survive: singular values, eigenvalues, Lyapunov exponents and vectors.

    σ_i(J_t ··· J_1) by lag   `singular`, and in one number `rank`
    λ_i = lim (1/T) ln σ_i    `lyapunov`; `vectors`, `dimension`, and `determinant` for their sum
    eigenvalues of each J_t   `eigenvalues`
    J(k), Fisher memory       `fisher`, the information of s_T about the input of lag k
    τ and α of forcing        `forcing`, for training on chaos
    √μ = 1/‖L⁻¹‖              `newton`, and `parallel`, which runs a model at all times at once

A frame of orthonormal tangents goes through the chain and is made orthonormal again; the triangles
hold what was gained, direction by direction.

What can go wrong. A direction that one step shrinks below the rounding of the largest one is lost
to it, and its exponent reads too high; `resolved` says where. Errors of exponents are those of
means over blocks of time, too small where the dynamics remembers longer than a block.
"""
