"""Settings that suit a backbone, one .toml file each; what a file does not name has its default."""

from __future__ import annotations

import difflib
from pathlib import Path

from edge_retrieval.errors import ConfigError

_FOLDER = Path(__file__).parent


def recipe_names() -> list[str]:
    """Return the names of the recipes: backbones of timm, in alphabetical order."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def recipe_path(name: str) -> Path:
    """Return the file of a recipe, for `TrainConfig.load`.

    Raises:
        ConfigError: No such recipe.
    """
    names = recipe_names()
    if name in names:
        return _FOLDER / f"{name}.toml"
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(names)}"
    raise ConfigError(f"no recipe {name!r}", hint=hint)
