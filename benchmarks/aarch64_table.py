"""The table of what an emulated aarch64 answers: benchmarks/aarch64.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def aarch64(
    results: Sequence[dict[str, Any]], table: Callable[[list[str], list[list[str]]], str]
) -> str:
    """Whether a Raspberry Pi finds what a PC finds; one result a bundle."""
    head = [
        "", "same ten best", "same, or scores within 0.001", "same first", "of the ten, found",
        "largest difference of scores", "least cosine of a figure's vectors",
        "golden, least and mean: here", "there",
    ]  # fmt: skip
    rows = []
    for result in results:
        here = _golden(result["here"]["doctor"])
        for row in result["there"]:
            first, found = _shared(row["differing"], result["searches"], result["k"])
            rows.append(
                [
                    f"{result['bundle']}, {row['cpu']}",
                    f"{row['equal']} of {result['searches']}",
                    f"{row['within']} of {result['searches']}",
                    f"{first} of {result['searches']}",
                    f"{100 * found:.1f} %",
                    f"{row['largest_difference']:.6f}",
                    f"{row['least_cosine']:.5f}",
                    here,
                    _golden(row["doctor"]),
                ]
            )
    return table(head, rows) + "\n\n" + _note(results)


def _note(results: Sequence[dict[str, Any]]) -> str:
    result = results[0]
    there = [row for one in results for row in one["there"]]
    same = all(row["pictures_equal"] for row in there)
    whole = not any(row["moved_register"]["faults"] for row in there)
    told = there[0]["versions"]
    return (
        f"{result['designs']} designs, {result['figures']} figures of {result['source']};"
        f" {result['searches']} sheets as drawings, half of them of these designs. Golden: cosine"
        f" of the golden drawings' vectors to what FP32 made of them in torch. The pictures in the"
        f" registers are {'equal, bit for bit' if same else 'not equal'}; this machine's register,"
        f" verified there, is {'whole' if whole else 'damaged'}."
        f" QEMU {result['qemu'].split()[2]}; Python {told['python']}, glibc {there[0]['glibc']},"
        f" onnxruntime {told['onnxruntime']}, numpy {told['numpy']}, no hnswlib, no compiler; here:"
        f" {result['here']['host']['cpu']}."
    )


def _shared(differing: Sequence[dict[str, Any]], searches: int, k: int) -> tuple[int, float]:
    """Return how many searches have the same first, and the share of the best that both found."""
    first, missed = searches, 0
    for one in differing:
        here, there = ([name for name, _ in one[side]] for side in ("here", "there"))
        first -= here[:1] != there[:1]
        missed += len(set(here) - set(there))
    return first, 1 - missed / (searches * k)


def _golden(doctor: dict[str, Any]) -> str:
    return f"{doctor['least']:.4f}, {doctor['mean']:.4f}"
