"""What a user of a library has to write to index a folder of drawings and to search it.

    python benchmarks/peer_script.py fastembed index MODEL STORE SHEETS
    python benchmarks/peer_script.py fastembed search MODEL STORE DRAWING
    python benchmarks/peer_script.py faiss-flat build STORE VECTORS
    python benchmarks/peer_script.py faiss-flat ask STORE VECTORS

For peers.py, in an interpreter that has the library; only ours imports this project. `index`
writes vectors as they come, so that what was done before a failure is kept; `search` prints ten
lines, a score and a name each. `build` and `ask` are of libraries that know no drawings: VECTORS is
a .npy file, rows of length 1; `ask` asks with its first row, and prints the ten rows as JSON and
what 100 more such searches took, each. Nothing is caught: what happens is what the library does.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

BATCH, K, AGAIN = 32, 10, 100


def main() -> None:
    """Do what the command line says."""
    way, what, *places = sys.argv[1:]
    if what in ("index", "search"):
        model, store, given = map(Path, places)
        (index if what == "index" else search)(way, model, store, given)
    elif what == "build":
        libraries()[way][0](*places)
    else:
        print(json.dumps(asked(way, *places)))


# ------------------------------------------------------------------ drawings


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

        scores, best = torch.topk(torch.from_numpy(np.array(rows)) @ torch.from_numpy(query), K)
        found = list(zip(scores.tolist(), best.tolist(), strict=True))
    elif way == "sentence-transformers":
        from sentence_transformers import util

        [hits] = util.semantic_search(query[None], np.array(rows), top_k=K)
        found = [(hit["score"], hit["corpus_id"]) for hit in hits]
    else:
        every = rows @ query
        found = [(float(every[row]), int(row)) for row in np.argsort(-every)[:K]]
    for score, row in found:
        print(f"{score:.4f}\t{names[row]}")


def embedders() -> dict[str, Callable[[Path, list[Path]], Iterable[Any]]]:
    """Return the ways from files to rows ``(D,)``."""
    return {
        "fastembed": fastembed,
        "fastembed-parallel": lambda model, files: fastembed(model, files, parallel=0),
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
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import InputModule

    class Drawings(InputModule):
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
    import timm
    import torch
    from torch import nn

    about = json.loads((folder / "network.json").read_text())
    backbone = timm.create_model(about["backbone"], num_classes=0, in_chans=1)
    head = nn.Linear(about["width"], about["dim"], bias=False)
    net = nn.Sequential(backbone, head, nn.BatchNorm1d(about["dim"])).eval()
    net.load_state_dict(torch.load(folder / "network.pt", weights_only=True))
    net.side = about["size"]
    return net


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


# ------------------------------------------------------------------ vectors


def asked(way: str, store: str, vectors: str) -> dict[str, Any]:
    """Open what was built, ask once, and then again with a clock."""
    import numpy as np

    queries = np.array(np.load(vectors, mmap_mode="r")[:1])  # (1, D)
    answer = libraries()[way][1](store, queries.shape[1])
    rows = [int(row) for row in answer(queries)]
    seconds = []
    for _ in range(AGAIN):
        began = time.perf_counter()
        answer(queries)
        seconds.append(round(time.perf_counter() - began, 7))
    return {"rows": rows, "seconds": seconds}


def libraries() -> dict[str, tuple[Callable[..., None], Callable[..., Any]]]:
    """Return for each library what builds a file and what opens it to be asked."""
    return {
        "edge-retrieval": (no_build, open_register),
        "numpy": (build_numpy, open_numpy),
        "faiss-flat": (lambda *at: build_faiss("Flat", *at), open_faiss),
        "faiss-hnsw": (lambda *at: build_faiss("HNSW16", *at), open_faiss),
        "usearch": (build_usearch, open_usearch),
        "hnswlib": (build_hnswlib, open_hnswlib),
    }


def no_build(store: str, vectors: str) -> None:
    """Do nothing: a register is searched as it was indexed."""


def open_register(store: str, dim: int) -> Any:
    """Open a register of ours, and search it with an embedding."""
    from edge_retrieval.register import Register
    from edge_retrieval.search import Query, search

    register = Register.open(Path(store))

    def answer(query: Any) -> list[int]:
        [result] = search(register, [Query("", ())], None, embeddings=[query], k=K)
        return [hit.figure.row for hit in result.hits]

    return answer


def build_numpy(store: str, vectors: str) -> None:
    """Keep the vectors as they are."""
    Path(store, "index").write_bytes(Path(vectors).read_bytes())


def open_numpy(store: str, dim: int) -> Any:
    """Load the matrix, and multiply it."""
    import numpy as np

    with Path(store, "index").open("rb") as file:
        rows = np.load(file)

    def answer(query: Any) -> Any:
        scores = rows @ query[0]
        best = np.argpartition(-scores, min(K, len(scores) - 1))[:K]
        return best[np.argsort(-scores[best])]

    return answer


def build_faiss(factory: str, store: str, vectors: str) -> None:
    """Build what the factory makes of a word."""
    import faiss
    import numpy as np

    rows = np.load(vectors)
    index = faiss.index_factory(rows.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    index.add(rows)
    faiss.write_index(index, str(Path(store, "index")))


def open_faiss(store: str, dim: int) -> Any:
    """Read any index of faiss."""
    import faiss

    index = faiss.read_index(str(Path(store, "index")))
    return lambda query: index.search(query, K)[1][0]


def build_usearch(store: str, vectors: str) -> None:
    """Build a graph with the library's own settings."""
    import numpy as np
    from usearch.index import Index

    rows = np.load(vectors)
    index = Index(ndim=rows.shape[1], metric="ip")
    index.add(np.arange(len(rows)), rows)
    index.save(str(Path(store, "index")))


def open_usearch(store: str, dim: int) -> Any:
    """Map the file."""
    from usearch.index import Index

    index = Index(ndim=dim, metric="ip")
    index.view(str(Path(store, "index")))
    return lambda query: index.search(query[0], K).keys


def build_hnswlib(store: str, vectors: str) -> None:
    """Build a graph with the settings of its page."""
    import hnswlib
    import numpy as np

    rows = np.load(vectors)
    index = hnswlib.Index(space="ip", dim=rows.shape[1])
    index.init_index(len(rows), M=16, ef_construction=200)
    index.add_items(rows)
    index.save_index(str(Path(store, "index")))


def open_hnswlib(store: str, dim: int) -> Any:
    """Load the file, and set what it does not hold."""
    import hnswlib

    index = hnswlib.Index(space="ip", dim=dim)
    index.load_index(str(Path(store, "index")))
    index.set_ef(50)
    return lambda query: index.knn_query(query, K)[0][0]


if __name__ == "__main__":
    main()
