"""The whole line, from a recipe to bundles: made drawings, a teacher, passes of training, export.

    split = "../splits/uspto-multiview.toml"
    teacher = "../teacher/recipe.toml"      # what `distill.ensemble` reads; optional
    after = "../small/recipe.toml"          # whose passes come first, under its names; optional
    [made]                                  # arguments of `distill.synthetic.generate`; optional
    [ldraw]                                 # of `distill.ldraw.generate_parts`; optional
    [[passes]]                              # settings of `TrainConfig`; each pass starts from the
    teacher = "fitted"                      #   last weights of the one before; "fitted": the above
    [refit]                                 # fits the projection anew on the real drawings alone,
    shrinkage = 0.3                         #   see `distill.refit`; optional
    size = 224                              #   at another input size than that of the passes
    [calibration]
    parts = ["validation", "test"]          # of the split: designs that were not trained on

What is finished is not done again: the same command goes on where it was stopped.
"""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from distill.config import TrainConfig
from distill.ensemble import ABOUT, fit_ensemble
from distill.export import ExportSettings, export_run
from distill.refit import refit
from distill.train import train
from distill.trials import Limits
from edge_retrieval.bundle import Bundle
from edge_retrieval.calibrating import calibrate_bundle
from edge_retrieval.errors import ConfigError
from edge_retrieval.progress import Track, silent
from edge_retrieval.split import Keep, Split, read_split

FITTED = "fitted"
_KEYS = {"split", "teacher", "after", "made", "ldraw", "passes", "refit", "calibration", "export"}


@dataclass(frozen=True)
class Line:
    """What is to be done, in order.

    Attributes:
        name: Of the bundles.
        passes: Trainings by the names of their runs, each from the last weights of the one before.
        split: What trains, validates and tests; None: nothing is held apart.
        teacher: Recipe of the teacher to fit; None: there is none.
        made: Arguments of `distill.synthetic.generate`; None: none are made.
        ldraw: Arguments of `distill.ldraw.generate_parts`; None: none are drawn.
        shrinkage: Of the last step, `distill.refit`; None: there is none.
        size: Of the input from that step on; None: that of the passes.
        calibrated_on: Parts of the split that scores are calibrated on; empty: they are not.
        formats: Of the bundles.
    """

    name: str
    passes: tuple[tuple[str, TrainConfig], ...]
    split: Split | None = None
    teacher: Path | None = None
    made: dict[str, Any] | None = None
    ldraw: dict[str, Any] | None = None
    shrinkage: float | None = None
    size: int | None = None
    calibrated_on: tuple[str, ...] = ()
    formats: tuple[str, ...] = field(default=("onnx",))

    @classmethod
    def load(cls, path: Path) -> Line:
        """Read a recipe; its name is that of its folder.

        Raises:
            ConfigError: Not a file of that kind, or a wrong setting in it.
        """
        found = _read(path)
        beside = path.parent
        name = path.resolve().parent.name
        passes = tuple(
            (f"{name}-{number}", TrainConfig.of(one))
            for number, one in enumerate(found.get("passes", ()), start=1)
        )
        if "after" in found:
            first = beside / found["after"]
            if "after" in _read(first):
                raise ConfigError(
                    f"{path}: after {first}, which is after another recipe itself",
                    hint="put the passes of both into one recipe",
                )
            passes = (*cls.load(first).passes, *passes)
        if size := found.get("refit", {}).get("size"):
            replace(passes[-1][1], size=size)  # a wrong one is told now, not after the training
        if any(one.teacher == FITTED for _, one in passes) and "teacher" not in found:
            raise ConfigError(
                f"{path}: a pass with teacher = {FITTED!r}, but no teacher to fit",
                hint='add teacher = "../teacher/recipe.toml", or its like',
            )
        return cls(
            name=name,
            passes=passes,
            split=read_split(beside / found["split"]) if "split" in found else None,
            teacher=beside / found["teacher"] if "teacher" in found else None,
            made=found.get("made"),
            ldraw=found.get("ldraw"),
            shrinkage=found.get("refit", {}).get("shrinkage", 0.3) if "refit" in found else None,
            size=size,
            calibrated_on=tuple(found.get("calibration", {}).get("parts", ())),
            formats=tuple(found.get("export", {}).get("formats", ("onnx",))),
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(
            f"{path}: not a recipe: {error}", hint="give models/small/recipe.toml, or its like"
        ) from error
    unknown = sorted(set(found) - _KEYS)
    unknown += sorted(set(found.get("refit", {})) - {"shrinkage", "size"})
    if unknown or not (found.get("passes") or "after" in found):
        what = f"no setting {unknown[0]!r}" if unknown else "no [[passes]]"
        raise ConfigError(f"{path}: {what}", hint=f"a recipe has {', '.join(sorted(_KEYS))}")
    return found


def reproduce(
    line: Line,
    sources: Sequence[Path],
    out: Path,
    *,
    validation: Path | None = None,
    ldraw: Path | None = None,
    weights: Path | None = None,
    threads: int = 0,
    track: Track = silent,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[Bundle, ...]:
    """Make the bundles of a recipe; return them.

    Args:
        line: The recipe.
        sources: Real drawings to train on; the teacher is fitted on them alone.
        out: A folder for all of it; what is finished there is kept.
        validation: A source to validate and calibrate on, by the parts of the split.
        ldraw: The archive of parts, if the recipe draws some.
        weights: Folder of the weights that the teacher's recipe names.
        threads: Of the training; 0: all cores.
        track: Shows progress.
        tell: Takes lines for a person.

    Raises:
        ConfigError: Something that the recipe needs is not given, or does not fit.
    """
    if line.ldraw is not None and ldraw is None:
        raise ConfigError("the recipe draws LDraw parts", hint="give the archive: --ldraw FILE")
    cache = out / "cache"
    drawn = [*sources, *_drawn(line, out, ldraw, threads, track, tell)]
    teacher = out / "teacher"
    if line.teacher is not None and not (teacher / ABOUT).is_file():
        tell("fitting the teacher")
        fit_ensemble(
            line.teacher, sources, teacher, weights=weights, split=line.split, cache=cache,
            track=track,
        )  # fmt: skip
    before: Path | None = None
    for number, (name, config) in enumerate(line.passes, start=1):
        run = out / "runs" / name
        if before is not None:
            config = replace(config, weights=str(before / "last.safetensors"))
        if config.teacher == FITTED:
            config = replace(config, teacher=str(teacher))
        tell(f"pass {number} of {len(line.passes)}: {run}")
        train(
            replace(config, threads=threads), drawn, run,
            validation=[validation] if validation else [], split=line.split,
            resume=(run / "config.toml").is_file(), cache=cache, track=track, tell=tell,
        )  # fmt: skip
        before = run
    assert before is not None, "a recipe has a pass"
    if line.shrinkage is not None:
        tell("fitting the projection anew")
        before = refit(
            before, sources, out / "runs" / line.name,
            shrinkage=line.shrinkage, size=line.size, trained=drawn,
            validation=[validation] if validation else [], split=line.split, cache=cache,
            track=track,
        )  # fmt: skip
    settings = ExportSettings(formats=line.formats, int8=True, limits=Limits())
    _lend(cache, before / "cache")
    result = export_run(before, out / "bundles", settings, name=line.name, track=track, tell=tell)
    for bundle in result.bundles if line.calibrated_on and validation else ():
        assert line.split is not None
        keep = partial(_any_of, [line.split.within(part) for part in line.calibrated_on])
        tell(f"calibrating the scores of {bundle.name}")
        calibrate_bundle(
            bundle.folder,
            [validation] if validation else [],
            keep=keep,
            track=track,
        )
    return result.bundles


def _lend(cache: Path, place: Path) -> None:
    """Let a run have the drawings of all in its own folder: an export looks for them there."""
    if place.exists():
        return
    try:
        place.symlink_to(cache.resolve(), target_is_directory=True)
    except OSError:  # Windows lets few make links, and a stick has none
        shutil.copytree(cache, place)


def _any_of(parts: Sequence[Keep], number: str) -> bool:
    return any(keep(number) for keep in parts)


def _drawn(
    line: Line,
    out: Path,
    archive: Path | None,
    threads: int,
    track: Track,
    tell: Callable[[str], None],
) -> list[Path]:
    """Make the drawings that the recipe asks for; return their folders."""
    workers = threads or os.cpu_count() or 1
    folders = []
    if line.made is not None:
        from distill.synthetic import generate

        folders.append(out / "made")
        made = {"workers": workers, "track": track, **line.made}
        _once(folders[-1], "made drawings", lambda to: generate(to, **made), tell)
    if line.ldraw is not None:
        from distill.ldraw import generate_parts

        assert archive is not None, "asked for by reproduce"
        folders.append(out / "ldraw")
        asked = {"workers": workers, "track": track, **line.ldraw}
        _once(folders[-1], "LDraw parts", lambda to: generate_parts(archive, to, **asked), tell)
    return folders


def _once(
    folder: Path, what: str, make: Callable[[Path], object], tell: Callable[[str], None]
) -> None:
    """Make a folder whole or not at all; one that is there is taken as it is."""
    if (folder / "metadata.csv").is_file():
        return
    tell(f"drawing: {what}")
    begun = folder.with_name(folder.name + ".partial")
    shutil.rmtree(begun, ignore_errors=True)
    for problem in getattr(make(begun), "problems", ()):
        tell(f"skipped: {problem.where}: {problem.reason}")
    try:
        begun.replace(folder)
    except OSError as error:
        raise ConfigError(
            f"{folder}: {error.strerror}", hint="give another folder with -o"
        ) from error
