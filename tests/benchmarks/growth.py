"""How costs grow: the exponents of T and of the size, over all sizes that were measured."""

import collections
import re
from typing import Any

import numpy as np


def exponents(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What fits each contender's median times best, seconds ~ size^a · T^b.

    By least squares of the logarithms; None for an exponent whose size did not vary. Parts are
    named family-size-T; whatever has fewer than two of them is left out.

    Args:
        records: rows of the table, as `measure.PRINTED` holds them.
    """
    groups: dict[tuple[str, str], dict[tuple[int, int], float]] = collections.defaultdict(dict)
    for record in records:
        place = re.fullmatch(r"([a-z]+)-(\d+)-(\d+)", record["part"])
        if place and record["seconds"]:
            family, size, length = place.groups()
            groups[family, record["name"]][int(size), int(length)] = record["seconds"]
    found = []
    for (family, name), times in groups.items():
        sizes = np.log(np.array(list(times), float))
        varies = np.ptp(sizes, axis=0) > 0
        if len(times) < 1 + max(1, varies.sum()):
            continue
        columns = np.column_stack([np.ones(len(times)), sizes[:, varies]])
        fit, *_ = np.linalg.lstsq(columns, np.log(list(times.values())), rcond=None)
        left = float(np.abs(columns @ fit - np.log(list(times.values()))).max())
        slopes = np.full(2, None, object)
        slopes[varies] = fit[1:]
        found.append(
            {
                "family": family,
                "name": name,
                "sizes": len(times),
                "of_size": slopes[0],
                "of_length": slopes[1],
                "largest_factor_off": float(np.exp(left)),
            }
        )
    return found


def print_exponents(found: list[dict[str, Any]]) -> None:
    """Prints them as a table of their own.

    Args:
        found: from `exponents`.
    """
    if not found:
        return
    print("\ngrowth: seconds ~ size^a T^b over the sizes above, and the largest factor beside it")
    print(f"{'family':<14} {'contender':<27} {'sizes':>5} {'a':>6} {'b':>6} {'factor':>7}")
    for one in found:
        a, b = ("" if one[key] is None else f"{one[key]:.2f}" for key in ("of_size", "of_length"))
        print(
            f"{one['family']:<14} {one['name']:<27} {one['sizes']:>5} {a:>6} {b:>6} "
            f"{one['largest_factor_off']:>7.2f}"
        )
