"""`words`: what each word of a text adds to the gradient."""
