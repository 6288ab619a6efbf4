"""The one exception for mistakes that the person at the keyboard can mend."""


class UserError(ValueError):
    """A mistake of the user's: its message is one sentence that says what was found and what is legal.

    Entry points print the message and exit with status 2; anything else that is raised is a defect of
    this project and keeps its traceback.
    """
