"""Profiles as KeOps formulas: `Elementary.profile` written out as one expression, its numbers as a vector `c`."""

from collections.abc import Sequence
from itertools import islice
from typing import Union

from wgf.kernels.radial import Elementary, Radial

Operand = Union["Formula", float, int]
WHOLE = 2**20  # whole numbers below are written out: they belong to the structure


class Writer:
    """What a profile calls as `m`, and what its numbers are written into: `numbers[i]` is Elem(c, i)."""

    def __init__(self) -> None:
        self.numbers: list[float] = []

    def number(self, value: float) -> "Formula":
        """A number of the vector c, so that formulas that differ in it alone are compiled once."""
        self.numbers.append(float(value))
        return Formula(self, f"Elem(c,{len(self.numbers) - 1})")

    def operand(self, x: Operand) -> "Formula":
        """A formula for a number, too."""
        if isinstance(x, Formula):
            return x
        whole = int(x) if abs(x) < WHOLE else 0
        return Formula(self, f"IntCst({whole})") if whole == x else self.number(x)

    def exp(self, x: Operand) -> "Formula":
        """e^x."""
        return Formula(self, f"Exp({self.operand(x)})")

    def log(self, x: Operand) -> "Formula":
        """ln x."""
        return Formula(self, f"Log({self.operand(x)})")

    def sqrt(self, x: Operand) -> "Formula":
        """√x."""
        return Formula(self, f"Sqrt({self.operand(x)})")

    def pow(self, x: Operand, exponent: float) -> "Formula":
        """x^s = exp(s ln x): the powers of KeOps are of float32 in any precision."""
        return self.exp(self.number(exponent) * self.log(x))


class Formula:
    """An expression of `writer`."""

    def __init__(self, writer: Writer, text: str) -> None:
        self.writer, self.text = writer, text

    def __str__(self) -> str:
        return self.text

    def __add__(self, other: Operand) -> "Formula":
        return self._with("+", other)

    def __radd__(self, other: Operand) -> "Formula":
        return self.writer.operand(other) + self

    def __sub__(self, other: Operand) -> "Formula":
        return self._with("-", other)

    def __rsub__(self, other: Operand) -> "Formula":
        return self.writer.operand(other) - self

    def __mul__(self, other: Operand) -> "Formula":
        return self._with("*", other)

    def __rmul__(self, other: Operand) -> "Formula":
        return self.writer.operand(other) * self

    def __truediv__(self, other: Operand) -> "Formula":
        return self._with("/", other)

    def __rtruediv__(self, other: Operand) -> "Formula":
        return self.writer.operand(other) / self

    def __neg__(self) -> "Formula":
        return Formula(self.writer, f"Minus({self})")

    def _with(self, sign: str, other: Operand) -> "Formula":
        if sign == "*" and isinstance(other, (int, float)) and other == 1:
            return self
        return Formula(self.writer, f"({self}{sign}{self.writer.operand(other)})")


def written(kernel: Radial, dim: int, squared: str, order: int) -> tuple[list[str], list[float]]:
    """κ, …, κ^(order) of a sum of elementary kernels at the formula `squared`, and the numbers c.

    Where one is unbounded at r = 0 it is zero there.
    """
    writer = Writer()
    orders: list[list[str]] = [[] for _ in range(order + 1)]
    for factor, part in kernel.parts():
        assert isinstance(part, Elementary)
        scale = None if factor == 1 else writer.number(factor)
        for n, k in enumerate(_orders(part, writer, dim, squared, order)):
            orders[n].append(f"{k}" if scale is None else f"({scale}*{k})")
    return [f"({'+'.join(terms)})" for terms in orders], writer.numbers


def _orders(kernel: Elementary, m: Writer, dim: int, squared: str, order: int) -> Sequence[str]:
    p = [m.number(value) for value in kernel.parameters(dim)]
    found = [m.operand(k) for k in islice(kernel.profile(m, Formula(m, squared), p), order + 1)]
    return [str(k) if n < kernel.bounded else f"IfElse(Minus({squared}),Zero(1),{k})" for n, k in enumerate(found)]
