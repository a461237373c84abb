"""What a person gave that cannot be used."""


class InputError(ValueError):
    """One line for the person at the keyboard: the value found, the value wanted, the way out. Exit code 2."""
