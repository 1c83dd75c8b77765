"""A case: what is promised, how long it may take, and what tries it."""


class Case:
    """`run(world)` raises a Failure, a NotRun, or gives a few words about what it saw."""

    def __init__(self, function, seconds):
        self.run = function
        self.name = function.__name__
        self.promise = " ".join(function.__doc__.split())
        self.seconds = seconds


def case(seconds):
    """Marks a function as a case that may take so many seconds."""

    def mark(function):
        function.case = (seconds,)
        return function

    return mark
