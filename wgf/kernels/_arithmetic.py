"""exp and log in plain arithmetic, which a compiler turns into vector instructions; imported where numba is used.

Errors (`tests/test_numba_engine.py`), ε being that of the precision: exp(x) within (3 + |x|)ε relative, log(x)
within 3ε(1 + |log x|). exp(x) is 0 where it would be below the smallest normal number, and infinite beyond the largest.
"""

import math
from typing import Any

import numba as nb
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

FAST = {"reassoc", "contract", "nsz"}
"""What the loops may do: change the order of sums and fuse products; NaN and infinities keep their meaning."""
inline = nb.njit(inline="always", error_model="numpy")


def _bits_as_float(context: Any, bits: Any) -> Any:
    width = bits.bitwidth
    result = nb.float32 if width == 32 else nb.float64

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType() if width == 32 else ir.DoubleType())

    return result(bits), generate


def _float_as_bits(context: Any, x: Any) -> Any:
    width = x.bitwidth
    result = nb.int32 if width == 32 else nb.int64

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(width))

    return result(x), generate


_float_of_bits: Any = intrinsic(_bits_as_float)
_bits_of_float: Any = intrinsic(_float_as_bits)

_F, _I = np.float32, np.int32
_L32 = _F(math.log2(math.e))
_LOW32, _HIGH32 = _F(-87.3), _F(88.0)
_HALF32, _ONE32, _ZERO32, _TWO32, _INF32 = _F(0.5), _F(1.0), _F(0.0), _F(2.0), _F(np.inf)
_E2, _E3, _E4, _E5, _E6, _E7 = (_F(1 / math.factorial(n)) for n in range(2, 8))
_BIAS32, _SHIFT32, _MASK32, _ONEBITS32 = _I(127), _I(23), _I(0x7FFFFF), _I(0x3F800000)
_ROOT32, _LN2_32 = _F(math.sqrt(2)), _F(math.log(2))
_A3, _A5, _A7, _A9 = _F(2 / 3), _F(2 / 5), _F(2 / 7), _F(2 / 9)


@inline
def exp32(x: Any) -> Any:
    """e^x in float32."""
    z = min(max(x, _LOW32), _HIGH32)
    t = z * _L32
    n = _I(t + (_HALF32 if t >= _ZERO32 else -_HALF32))
    f = _F(n)
    f = z - f * _LN2_32  # one product, fused: what ln 2 loses is n·2e-9, below the rounding of x
    q = _E5 + f * (_E6 + f * _E7)
    q = _ONE32 + f * (_ONE32 + f * (_E2 + f * (_E3 + f * (_E4 + f * q))))
    y = q * _float_of_bits(_I((n + _BIAS32) << _SHIFT32))
    y = y if x <= _HIGH32 else _INF32
    return y if x >= _LOW32 else (_ZERO32 if x < _LOW32 else x)


@inline
def log32(x: Any) -> Any:
    """ln x in float32, x > 0 and normal."""
    bits = _bits_of_float(x)
    e = _I(((bits >> _SHIFT32) & _I(0xFF)) - _BIAS32)
    mantissa = _float_of_bits(_I((bits & _MASK32) | _ONEBITS32))
    over = mantissa > _ROOT32
    mantissa = mantissa * _HALF32 if over else mantissa
    e = _I(e + _I(1)) if over else e
    s = (mantissa - _ONE32) / (mantissa + _ONE32)
    z = s * s
    return _F(e) * _LN2_32 + s * (_TWO32 + z * (_A3 + z * (_A5 + z * (_A7 + z * _A9))))


_L64 = math.log2(math.e)
_LOW64, _HIGH64 = -708.0, 709.0
_X = tuple(1 / math.factorial(n) for n in range(14))
_X2, _X3, _X4, _X5, _X6, _X7, _X8, _X9, _X10, _X11, _X12, _X13 = _X[2:]
_J = np.int64
_BIAS64, _SHIFT64, _MASK64, _ONEBITS64 = _J(1023), _J(52), _J(0xFFFFFFFFFFFFF), _J(0x3FF0000000000000)
_ROOT64, _LN2_64 = math.sqrt(2), math.log(2)
_B3, _B5, _B7, _B9, _B11, _B13, _B15, _B17, _B19, _B21 = (2 / n for n in range(3, 22, 2))


@inline
def exp64(x: Any) -> Any:
    """e^x in float64."""
    z = min(max(x, _LOW64), _HIGH64)
    t = z * _L64
    n = np.int32(t + (0.5 if t >= 0.0 else -0.5))
    f = np.float64(n)
    f = z - f * _LN2_64
    q = _X9 + f * (_X10 + f * (_X11 + f * (_X12 + f * _X13)))
    q = _X4 + f * (_X5 + f * (_X6 + f * (_X7 + f * (_X8 + f * q))))
    q = 1.0 + f * (1.0 + f * (_X2 + f * (_X3 + f * q)))
    y = q * _float_of_bits(_J((_J(n) + _BIAS64) << _SHIFT64))
    y = y if x <= _HIGH64 else np.inf
    return y if x >= _LOW64 else (0.0 if x < _LOW64 else x)


@inline
def log64(x: Any) -> Any:
    """ln x in float64, x > 0 and normal."""
    bits = _bits_of_float(x)
    e = np.int32(((bits >> _SHIFT64) & _J(0x7FF)) - _BIAS64)
    mantissa = _float_of_bits(_J((bits & _MASK64) | _ONEBITS64))
    over = mantissa > _ROOT64
    mantissa = mantissa * 0.5 if over else mantissa
    e = np.int32(e + np.int32(1)) if over else e
    s = (mantissa - 1.0) / (mantissa + 1.0)
    z = s * s
    q = _B13 + z * (_B15 + z * (_B17 + z * (_B19 + z * _B21)))
    q = _B5 + z * (_B7 + z * (_B9 + z * (_B11 + z * q)))
    return np.float64(e) * _LN2_64 + s * (2.0 + z * (_B3 + z * q))
