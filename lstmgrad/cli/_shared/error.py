"""What a user asked for that cannot be done, in one sentence."""


class CommandError(Exception):
    """Ends the command with its message on stderr and exit code 2."""
