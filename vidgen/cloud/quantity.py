"""Kubernetes quantities: '500m', '16Gi', '8'."""

from __future__ import annotations

import re
from decimal import Decimal

_UNITS = {
    "": Decimal(1), "m": Decimal("0.001"), "k": Decimal(10**3), "M": Decimal(10**6),
    "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
}  # fmt: skip
_QUANTITY = re.compile(r"^(\d+(?:\.\d+)?)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$")


def parse_quantity(text: str, name: str = "quantity") -> Decimal:
    """'500m' -> 0.5, '1Gi' -> 1073741824. Raises ValueError that names `name`."""
    match = _QUANTITY.match(str(text))
    if not match:
        raise ValueError(f"{name}: {text!r} is not a Kubernetes quantity like 500m, 16Gi or 8")
    return Decimal(match[1]) * _UNITS[match[2] or ""]


def times(text: str, count: int) -> str:
    """A quantity `count` times, in the same unit: times('1.5Gi', 2) == '3Gi'."""
    match = _QUANTITY.match(str(text))
    if not match:
        raise ValueError(f"{text!r} is not a Kubernetes quantity like 500m, 16Gi or 8")
    number = (Decimal(match[1]) * count).normalize()
    return f"{number:f}{match[2] or ''}"


def plus(text: str, more: str) -> str:
    """Two quantities together: plus('4Gi', '3Gi') == '7Gi', plus('1G', '1Gi') == '2073741824'."""
    a, b = _QUANTITY.match(str(text)), _QUANTITY.match(str(more))
    if a and b and a[2] == b[2]:
        return f"{(Decimal(a[1]) + Decimal(b[1])).normalize():f}{a[2] or ''}"
    return f"{(parse_quantity(text) + parse_quantity(more)).normalize():f}"
