"""How far the gradient reaches: spectral norms of ds_t/ds_k over every lag."""
