"""What a user did that cannot be done, in one sentence."""


class CommandError(Exception):
    """Ends the command with its message on stderr and exit code 2."""
