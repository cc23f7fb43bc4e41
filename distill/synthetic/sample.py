"""Make the sample that ships in the wheel: sheets of made designs, and a drawing to search with.

python -m distill.synthetic.sample edge_retrieval/data/sample
"""

from __future__ import annotations

import sys
from pathlib import Path

from distill.synthetic.dataset import generate
from distill.synthetic.design import draw, make_design, restyled
from distill.synthetic.raster import grey_png

SEED = 7
"""Not the seed of the training drawings: the encoder has not seen the designs of the sample."""

DESIGNS, VIEWS = 90, 4
QUERY = "06-01/chair"
"""The family whose first design is asked for, by another hand and from behind."""


def make_sample(out: Path) -> None:
    """Write `metadata.csv`, `sheets/` and `query.png` to a new folder."""
    generate(out, designs=DESIGNS, seed=SEED, views=VIEWS, sheets=True)
    design = restyled(make_design(QUERY, 0, SEED), SEED, "query")
    (out / "query.png").write_bytes(grey_png(draw(design, "perspective2", size=640, seed=SEED)))


if __name__ == "__main__":
    make_sample(Path(sys.argv[1]))
