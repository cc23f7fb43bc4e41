"""The one place that imports timm: `from distill._timm import timm`.

timm imports torchvision, although no model of ours needs it. Where torchvision's compiled part was
built for another torch (a CPU torch beside a CUDA torchvision, say), that part does not load, and
`import torchvision` fails with "operator torchvision::nms does not exist": it attaches shape rules
to two operators that nobody declared. Declaring them (only their signatures: they are never called)
lets the import pass. Where torchvision works, nothing is declared: a second declaration would be
an error too.
"""

from __future__ import annotations

import contextlib
from types import ModuleType

import torch

_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_kept_alive: list[torch.library.Library] = []  # a Library that is collected takes its operators


def _import_timm() -> ModuleType:
    try:
        import torchvision  # type: ignore[import-untyped]  # noqa: F401
    except ModuleNotFoundError:
        pass  # then timm's own import says so
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        _kept_alive.append(library)
        for name in ("nms", "qnms"):
            with contextlib.suppress(RuntimeError):  # declared already
                library.define(name + _SIGNATURE)  # type: ignore[no-untyped-call]
    import timm

    module: ModuleType = timm
    return module


timm = _import_timm()
