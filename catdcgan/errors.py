"""What the command line answers with one line and no traceback."""


class InputError(ValueError):
    """Something given cannot be used. The message names it, and says what was found and what to do."""
