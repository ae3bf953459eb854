"""`compare`: how far the gradient reaches, cell by cell or in a network from a file."""
