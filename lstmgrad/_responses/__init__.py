"""How the states of a model respond: to another input, and where they leave the numbers."""
