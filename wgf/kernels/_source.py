"""Profiles as source: `Elementary.profile` written out as assignments that a compiler of scalar loops understands."""

from collections.abc import Sequence
from itertools import islice
from typing import Union

from wgf.kernels.radial import Elementary

Operand = Union["Expression", float, int]


class Writer:
    """What a profile calls as `m`: its exp, log, sqrt and pow write lines `t3 = exp(t2)` and return the new name.

    Numbers become named constants of the working precision, so that nothing is promoted; the same line is written once.
    """

    def __init__(self, prefix: str = "t") -> None:
        self.lines: list[str] = []
        self.constants: dict[float, str] = {}
        self._known: dict[str, str] = {}
        self._prefix = prefix

    def exp(self, x: Operand) -> "Expression":
        """e^x."""
        return self._call("exp", x)

    def log(self, x: Operand) -> "Expression":
        """ln x."""
        return self._call("log", x)

    def sqrt(self, x: Operand) -> "Expression":
        """√x."""
        return self._call("sqrt", x)

    def pow(self, x: Operand, exponent: float) -> "Expression":
        """x^s = exp(s ln x)."""
        return self.exp(exponent * self.log(x))

    def constant(self, value: float) -> "Expression":
        """A number, named."""
        name = self.constants.setdefault(float(value), f"c{len(self.constants)}")
        return Expression(self, name)

    def write(self, text: str) -> "Expression":
        """A name for the value of `text`."""
        if text not in self._known:
            self._known[text] = f"{self._prefix}{len(self._known)}"
            self.lines.append(f"{self._known[text]} = {text}")
        return Expression(self, self._known[text])

    def _call(self, function: str, x: Operand) -> "Expression":
        return self.write(f"{function}({self.operand(x)})")

    def operand(self, x: Operand) -> "Expression":
        """An expression for a number, too."""
        return x if isinstance(x, Expression) else self.constant(float(x))


class Expression:
    """A name in the source that `writer` writes."""

    def __init__(self, writer: Writer, name: str) -> None:
        self.writer, self.name = writer, name

    def __str__(self) -> str:
        return self.name

    def __add__(self, other: Operand) -> "Expression":
        return self._with("+", other)

    def __radd__(self, other: Operand) -> "Expression":
        return self._with("+", other, swapped=True)

    def __sub__(self, other: Operand) -> "Expression":
        return self._with("-", other)

    def __rsub__(self, other: Operand) -> "Expression":
        return self._with("-", other, swapped=True)

    def __mul__(self, other: Operand) -> "Expression":
        return self._with("*", other)

    def __rmul__(self, other: Operand) -> "Expression":
        return self._with("*", other, swapped=True)

    def __truediv__(self, other: Operand) -> "Expression":
        return self._with("/", other)

    def __rtruediv__(self, other: Operand) -> "Expression":
        return self._with("/", other, swapped=True)

    def __neg__(self) -> "Expression":
        return self.writer.write(f"-{self}")

    def _with(self, sign: str, other: Operand, swapped: bool = False) -> "Expression":
        if isinstance(other, (int, float)):
            if sign == "*" and other == 1:
                return self
            if sign == "+" and other == 0:
                return self
        left, right = self, self.writer.operand(other)
        if swapped:
            left, right = right, left
        return self.writer.write(f"{left} {sign} {right}")


def orders_of(kernel: Elementary, m: Writer, r: Expression, p: Sequence[Expression], order: int) -> list[Expression]:
    """The names of κ, …, κ^(order) at r, r > 0."""
    return [m.operand(k) for k in islice(kernel.profile(m, r, p), order + 1)]
