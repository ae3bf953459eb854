"""Numbers, norms and frames: mathematics that knows no chain."""
