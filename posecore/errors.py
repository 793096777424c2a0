"""The one exception for what a user can mend: its text is the whole message, one line, no traceback."""


class UserError(Exception):
    """Something the user can put right. The text says what is wrong, the value, where, and what to do."""
