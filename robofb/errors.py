"""The one exception that means: the user can mend this."""


class UserError(Exception):
    """Tell a user's mistake in one line: the thing, the value, the valid choices."""
