"""What can go wrong, by name: every error a user meets is one of these and says what would be right."""


class InputError(ValueError):
    """An argument has the wrong shape, type, sign or name; the message says which, and what was expected.

    Raised inside a flow, its `path` holds the steps already finished.
    """

    path: object = None


class Incompatible(InputError):
    """A functional, a stepper, a map or a law do not fit together."""


class SpecError(InputError):
    """A spec has a key, a name or a value that cannot be used; the message names its full path and what is valid."""


class Unknown(RuntimeError):
    """A quantity is asked for that this object does not have, such as the density of an empirical law."""


class NotInvertible(RuntimeError):
    """A map was inverted where its inverse could not be found to tolerance; the message says how far off it was."""


class Diverged(RuntimeError):
    """Losses, beyond what a recipe answers, or particles are not finite; `path` holds the steps already finished."""

    path: object = None
