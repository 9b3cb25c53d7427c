"""What a program raises where it can't do its work."""


class ProgramError(Exception):
    """A program that can't do its work; the message says what is missing and what makes it."""
