"""What the commands share: options, sequences, training, output."""
