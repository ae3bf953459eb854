"""`depth`: the gradient through a stack of layers, factor by factor."""
