"""The exception for a mistake of the user."""


class UserError(ValueError):
    """A mistake of the user. The message is one sentence that says what was found and what is legal.

    Commands print the message without a traceback and exit with status 2.
    """
