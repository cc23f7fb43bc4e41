"""Sheet -> figures -> Images: the only decode, crop and resize in the project.

    bytes --decode--> Page --cut--> FigureImage.pixels (the master) --fit--> Images

Training, calibration, the export gate, indexing and search all come this way, so they see equal
arrays, bit for bit. numpy and Pillow only; PDF needs the extra 'pdf'.
"""

from __future__ import annotations

from edge_retrieval.drawing.cut import CUT_VERSION, FigureImage, cut_sheet, whole_sheet
from edge_retrieval.drawing.fit import (
    FIT_VERSION,
    Preprocessing,
    fit,
    fit_batch,
    from_png,
    to_png,
)
from edge_retrieval.drawing.raster import MASTER_SIDE
from edge_retrieval.limits import MAX_PAGES, MAX_PIXELS

__all__ = [
    "CUT_VERSION",
    "FIT_VERSION",
    "MASTER_SIDE",
    "MAX_PAGES",
    "MAX_PIXELS",
    "FigureImage",
    "Preprocessing",
    "cut_sheet",
    "fit",
    "fit_batch",
    "from_png",
    "to_png",
    "whole_sheet",
]
