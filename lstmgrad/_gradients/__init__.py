"""What each step adds to the gradient of a loss."""
