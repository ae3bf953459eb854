"""What a reading costs, before it is made."""
