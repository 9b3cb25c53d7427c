"""What a program raises where it can't do its work."""


class ProgramError(Exception):
    """A program that can't do its work; the message says what is missing and what makes it."""

    exit_code = 1


class TooLittleData(ProgramError):
    """The day's data can't teach anything; no second try changes that."""

    exit_code = 3
