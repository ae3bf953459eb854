"""What the commands share: the skeleton of a run, options, input, training and output."""
