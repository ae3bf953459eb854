"""How far the states of a model move when an input is another one."""
