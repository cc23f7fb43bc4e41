"""The plan in a few sentences, each made from the tables' numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scale_plan_words import count, hours, milli, money, size


def sentences(result: Mapping[str, Any]) -> list[str]:
    """Return what to tell whoever asks first; two stars stand around what matters."""
    a = result["assumed"]
    rows = {row["figures"]: row for row in result["rows"]}
    ten, hundred, billion = (rows[10**power] for power in (7, 8, 9))

    def way(row: Mapping[str, Any], form: str) -> Any:
        return next(one for one in row["search"] if one["form"] == form)

    def price(number: float) -> str:
        return money(number, a["currency"])

    best = [way(row, row["right"]) for row in (hundred, billion)]
    changed = billion["change"]
    return [
        f"**A laptop holds ten million figures**: {size(ten['bytes']['all'])} of disk, of which"
        f" {size(ten['bytes']['pictures'])} are pictures. A search that compares all of them takes"
        f" {milli(way(ten, 'exact')['p50'])}, the first index {hours(ten['making']['laptop'])} on"
        f" {a['laptop_cores']} cores.",
        f"**A hundred million take {best[0]['machines']['with_spare']} machines**, one of them a"
        f" spare, and {price(best[0]['month'])} a month: a search takes {milli(best[0]['p50'])}."
        f" To compare everything takes {milli(way(hundred, 'exact')['search_cpu'])} of a core.",
        f"**A billion take {best[1]['machines']['with_spare']} machines** and"
        f" {price(best[1]['month'])} a month: a search takes {milli(best[1]['p50'])}, a million"
        f" searches cost {price(best[1]['per_million'])}. To compare everything, in each search,"
        f" takes {way(billion, 'exact')['machines']['with_spare']} machines.",
        f"These two are parts of {count(a['shard'])} figures that are asked together. **One search"
        " cannot do that yet**: today it asks one register, or a store.",
        f"**To index a billion from its sheets** takes {billion['making']['core_hours']:,.0f}"
        f" core-hours, {price(billion['making']['cost'])}; but one register has one writer, and"
        f" it alone takes {hours(billion['making']['one_writer'])}.",
        f"**After a change of the model** a billion figures are embedded again from the pictures"
        f" that are kept in {hours(changed['pictures']['hours'])} on {a['workers']} cores for"
        f" {price(changed['pictures']['cost'])}; a projection of their vectors would"
        f" take {hours(changed['projection']['hours'])}. What each of them finds is measured, too.",
    ]


def pictures(result: Mapping[str, Any]) -> str:
    """Return how alike the vectors from kept pictures are to those from sheets."""
    values = {one["name"]: one["value"] for one in result["constants"]}
    return (
        "Measured: the cosine of a figure's vector from its kept picture to that from its sheet is"
        f" {values['picture_cosine']:.3f} on average and {values['picture_least']:.3f} at least;"
        f" of the ten nearest of a figure {values['picture_overlap']:.0%} are the same."
    )
