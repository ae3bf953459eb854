"""The noun: models, trajectories, chains of step Jacobians, and what moves through them."""
