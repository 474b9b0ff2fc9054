"""Numbers and times of other kinds than Python's own, as numpy and pandas have them.

numpy is no dependency of ours. Where it is installed its own scalars take part; everywhere these
stand-ins do, which have of them what a reader may go by: `__index__`, `numbers.Real`, and how they
print.
"""

from __future__ import annotations

import importlib
import importlib.util
import numbers
import struct
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any


class WholeScalar:
    """An integer of another kind, as `numpy.int64`: it has `__index__`, and is no `int`."""

    def __init__(self, value: int) -> None:
        self._value = value

    def __index__(self) -> int:
        return self._value

    def __eq__(self, other: object) -> bool:
        return other == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return f"scalar.int64({self._value})"

    def __str__(self) -> str:
        return str(self._value)


class RealScalar:
    """A number of another precision, as `numpy.float32`: it prints short, and is no `float`."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __float__(self) -> float:
        # What a 32-bit float is when it is widened: 0.7 becomes 0.699999988079071.
        return float(struct.unpack("f", struct.pack("f", float(self._text)))[0])

    def __repr__(self) -> str:
        return f"scalar.float32({self._text})"

    def __str__(self) -> str:
        return self._text


numbers.Real.register(RealScalar)


class bool_:
    """True as numpy 1 has it: it passes for the index 1, which numpy 2 refuses."""

    def __index__(self) -> int:
        return 1


class Array:
    """An array without dimensions, as numpy's own functions return one in places."""

    ndim = 0

    def __init__(self, value: object) -> None:
        self._value = value

    def item(self) -> object:
        return self._value


def _numpy() -> Any:
    return importlib.import_module("numpy") if importlib.util.find_spec("numpy") else None


def whole_kinds() -> dict[str, Callable[[int], object]]:
    """The kinds in which a program may have a whole number, each made of an int."""
    kinds: dict[str, Callable[[int], object]] = {
        "int": int,
        "an integer with __index__": WholeScalar,
        "a whole float": float,
        "Decimal": Decimal,
        "Fraction": Fraction,
        "an array without dimensions": Array,
    }
    numpy = _numpy()
    if numpy is not None:
        kinds |= {name: getattr(numpy, name) for name in ("int32", "int64", "uint64", "float64")}
        kinds["numpy array"] = numpy.array
    return kinds


def real_kinds() -> dict[str, Callable[[str], object]]:
    """The kinds in which a program may have a number, each made of its digits."""
    kinds: dict[str, Callable[[str], object]] = {
        "float": float,
        "a number of another precision": RealScalar,
        "Decimal": Decimal,
        "Fraction": Fraction,
        "an array without dimensions": lambda text: Array(float(text)),
    }
    numpy = _numpy()
    if numpy is not None:
        kinds |= {name: getattr(numpy, name) for name in ("float32", "float64", "longdouble")}
        kinds["numpy array"] = lambda text: numpy.array(float(text))
    return kinds


def no_numbers() -> dict[str, object]:
    """What is no number, and must be taken for none."""
    values: dict[str, object] = {
        "True": True,
        "False": False,
        "None": None,
        "NaN": float("nan"),
        "infinity": float("inf"),
        "minus infinity": float("-inf"),
        "Decimal NaN": Decimal("NaN"),
        "a signalling Decimal": Decimal("sNaN"),
        "Decimal infinity": Decimal("Infinity"),
        "a number beyond every float": Decimal("1E+1000000"),
        "a list": [1],
        "an object": object(),
        "bytes": b"1",
        "a complex number": 1j,
        "True of numpy 1": bool_(),
    }
    numpy = _numpy()
    if numpy is not None:
        values |= {
            "numpy True": numpy.bool_(True),
            "numpy NaN": numpy.float64("nan"),
            "numpy infinity": numpy.float32("inf"),
            "numpy span of time": numpy.timedelta64(5, "s"),
            "numpy array of two": numpy.array([1, 2]),
        }
    return values
