"""How many directions survive: singular values, eigenvalues, Lyapunov exponents."""
