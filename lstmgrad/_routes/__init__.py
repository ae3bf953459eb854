"""Through what the gradient came: tagged values, routes, shares, budgets."""
