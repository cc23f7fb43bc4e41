"""The table of what an emulated aarch64 answers: benchmarks/aarch64.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def aarch64(result: dict[str, Any], table: Callable[[list[str], list[list[str]]], str]) -> str:
    """Whether a Raspberry Pi finds what a PC finds."""
    head = [
        "", "ten best equal", "equal or scores within 0.001", "largest difference of scores",
        "least cosine of a figure's vectors", "golden: least cosine", "golden: mean cosine",
    ]  # fmt: skip
    searches = result["searches"]
    here = result["here"]
    rows = [["this machine", *[""] * 4, *_golden(here["doctor"])]]
    for row in result["there"]:
        rows.append(
            [
                row["cpu"],
                f"{row['equal']} of {searches}",
                f"{row['within']} of {searches}",
                f"{row['largest_difference']:.6f}",
                f"{row['least_cosine']:.5f}",
                *_golden(row["doctor"]),
            ]
        )
    first = result["there"][0]
    moved = [row["moved_register"] for row in result["there"]]
    same = all(row["pictures_equal"] for row in result["there"])
    pictures = "the same pictures, bit for bit" if same else "not the same pictures"
    whole = "whole" if not any(one["faults"] for one in moved) else "damaged"
    note = (
        f"{result['bundle']} ({result['precision']}), {result['designs']} designs,"
        f" {result['figures']} figures of {result['source']}, {searches} sheets as drawings, half"
        f" of them of these designs; golden: what the network computes here against what FP32 did"
        f" in torch, {here['doctor']['asked']:.3f} is asked. The register of the emulated machine"
        f" holds {pictures}. That of this machine, taken there, is {whole}; of"
        f" {moved[0]['searches']} searches in it"
        f" {' and '.join(str(one['equal']) for one in moved)} have the same ten best."
        f" {_version(result['qemu'])}; Python {first['versions']['python']},"
        f" glibc {first['glibc']}, onnxruntime {first['versions']['onnxruntime']},"
        f" numpy {first['versions']['numpy']}; no compiler, no"
        f" hnswlib; this machine: {here['host']['cpu']}."
    )
    return table(head, rows) + "\n\n" + note


def _golden(doctor: dict[str, Any]) -> list[str]:
    return [f"{doctor['least']:.4f}", f"{doctor['mean']:.4f}"]


def _version(told: str) -> str:
    """Return "QEMU 10.0.13" of "qemu-aarch64 version 10.0.13 (Debian ...)"."""
    return f"QEMU {told.split()[2]}"
