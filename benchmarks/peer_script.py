"""What a user of a library has to write to index a folder of drawings and to search it.

    python benchmarks/peer_script.py fastembed index MODEL STORE SHEETS
    python benchmarks/peer_script.py fastembed search MODEL STORE DRAWING

For peers.py, in an interpreter that has the library: imports nothing of this project. `index`
writes vectors as they come, so that what was done before a failure is kept; `search` prints ten
lines, a score and a name each. Nothing is caught: what happens is what the library does.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

BATCH, K = 32, 10
KEPT_ALIVE: list[Any] = []
SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def main() -> None:
    """Do what the command line says."""
    way, what, *places = sys.argv[1:]
    model, store, given = map(Path, places)
    (index if what == "index" else search)(way, model, store, given)


def index(way: str, model: Path, store: Path, sheets: Path) -> None:
    """Embed every file of a folder, in the order of their names."""
    files = sorted(sheets.iterdir())
    with (store / "vectors.f32").open("wb") as vectors, (store / "names").open("w") as names:
        for path, row in zip(files, embedders()[way](model, files), strict=True):
            vectors.write(row.astype("<f4").tobytes())
            names.write(f"{path.name}\n")


def search(way: str, model: Path, store: Path, drawing: Path) -> None:
    """Print the ten that are most alike."""
    import numpy as np

    names = (store / "names").read_text().splitlines()
    [query] = embedders()[way](model, [drawing])
    rows = np.memmap(store / "vectors.f32", "<f4", "r").reshape(len(names), -1)  # (N, D)
    if way == "timm":
        import torch

        every = torch.from_numpy(np.array(rows)) @ torch.from_numpy(query)  # (N,)
        scores, best = torch.topk(every, min(K, len(names)))
        found = list(zip(scores.tolist(), best.tolist(), strict=True))
    elif way == "sentence-transformers":
        from sentence_transformers import util

        [hits] = util.semantic_search(query[None], np.array(rows), top_k=K)
        found = [(hit["score"], hit["corpus_id"]) for hit in hits]
    else:
        cosines = rows @ query  # (N,)
        found = [(float(cosines[row]), int(row)) for row in np.argsort(-cosines)[:K]]
    for score, row in found:
        print(f"{score:.4f}\t{names[row]}")


def embedders() -> dict[str, Callable[[Path, list[Path]], Iterable[Any]]]:
    """Return the ways from files to rows ``(D,)``."""
    return {
        "fastembed": fastembed,
        # It starts no processes for less than a batch, which is 256 images by default.
        "fastembed-parallel": lambda model, files: fastembed(
            model, files, parallel=0, batch_size=16
        ),
        "timm": timm,
        "sentence-transformers": sentence_transformers,
    }


def fastembed(model: Path, files: list[Path], **options: Any) -> Iterable[Any]:
    """Embed as fastembed's page on images does; its name for the network is only a form."""
    from fastembed import ImageEmbedding

    embedding = ImageEmbedding(
        "Qdrant/resnet50-onnx", specific_model_path=str(model), local_files_only=True
    )
    found: Iterable[Any] = embedding.embed([str(path) for path in files], **options)
    return found


def timm(model: Path, files: list[Path]) -> Iterator[Any]:
    """Embed in batches with timm and torch."""
    import torch

    net = network(model)
    with torch.inference_mode():
        for start in range(0, len(files), BATCH):
            images = [square(path, net.side) for path in files[start : start + BATCH]]
            yield from torch.nn.functional.normalize(net(torch.stack(images))).numpy()


def sentence_transformers(model: Path, files: list[Path]) -> Iterator[Any]:
    """Embed with a SentenceTransformer made of one module of our own."""
    import torch
    from PIL import Image

    mend_torchvision()
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import InputModule

    class Drawings(InputModule):  # type: ignore[misc]
        modalities = ["image"]  # noqa: RUF012

        def __init__(self) -> None:
            super().__init__()
            self.net = network(model)

        def preprocess(self, inputs: Any, prompt: Any = None, **_: Any) -> dict[str, Any]:
            return {"pixels": torch.stack([tensor(image, self.net.side) for image in inputs])}

        def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
            return features | {"sentence_embedding": self.net(features["pixels"])}

        def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
            raise NotImplementedError

    encoder = SentenceTransformer(modules=[Drawings()], device="cpu")
    for start in range(0, len(files), BATCH):
        images = [Image.open(path) for path in files[start : start + BATCH]]
        yield from encoder.encode(images, batch_size=BATCH, normalize_embeddings=True)


def network(folder: Path) -> Any:
    """Make the network of `peer_network.py` again, with timm and torch alone."""
    import torch
    from torch import nn

    mend_torchvision()
    import timm

    about = json.loads((folder / "network.json").read_text())
    backbone = timm.create_model(about["backbone"], num_classes=0, in_chans=1)
    head = nn.Linear(about["width"], about["dim"], bias=False)
    net = nn.Sequential(backbone, head, nn.BatchNorm1d(about["dim"])).eval()
    net.load_state_dict(torch.load(folder / "network.pt", weights_only=True))
    net.side = about["size"]
    return net


def mend_torchvision() -> None:
    """Let timm be imported where torchvision was built for another torch; as `distill/_timm.py`."""
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        KEPT_ALIVE.append(library)
        for name in ("nms", "qnms"):
            with contextlib.suppress(RuntimeError):
                library.define(f"{name}{SIGNATURE}")  # type: ignore[no-untyped-call]


def square(path: Path, side: int) -> Any:
    """Decode a file; return ``(1, side, side)`` from -1 to 1."""
    from PIL import Image

    return tensor(Image.open(path), side)


def tensor(image: Any, side: int) -> Any:
    """Squeeze an image into a square, as ready-made preprocessing does."""
    import numpy as np
    import torch

    pixels = np.asarray(image.convert("L").resize((side, side)), np.float32)
    return torch.from_numpy(pixels / 127.5 - 1)[None]


if __name__ == "__main__":
    main()
