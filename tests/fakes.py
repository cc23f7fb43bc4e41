"""Small stand-ins for tests: an encoder that needs no training, its bundle, drawings, designs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from edge_retrieval.arrays import Embeddings, Images
from edge_retrieval.bundle import Bundle, save_bundle
from edge_retrieval.drawing import Preprocessing
from edge_retrieval.encoder import embed_figures
from edge_retrieval.sources.design import Box, Design, Sheet

PREPROCESSING = Preprocessing(size=32)
CELLS = 8
PINNED = Path(__file__).parent / "pinned"
MODEL = PINNED / "tiny.onnx"
"""The same arithmetic as `FakeEncoder`, as ONNX; `write_model` made it."""


class FakeEncoder:
    """Embeds a figure by how much ink is in each of 8 x 8 cells; counts what it was given."""

    preprocessing = PREPROCESSING
    dim = CELLS * CELLS
    backend = "fake"

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self.embedded = 0

    def embed(self, images: Images) -> Embeddings:
        """(N, 1, 32, 32) -> (N, 64), rows of length 1."""
        self.embedded += len(images)
        side = PREPROCESSING.size // CELLS
        cells = images.reshape(len(images), CELLS, side, CELLS, side).mean(axis=(2, 4))
        ink = np.float32(1.001) - cells.reshape(len(images), -1)  # (N, 64), above 0
        lengths = np.linalg.norm(ink, axis=1, keepdims=True)
        return np.asarray(ink / lengths, np.float32)


class BrokenEncoder(FakeEncoder):
    """Embeds as a diverged network does."""

    def embed(self, images: Images) -> Embeddings:
        """Return no numbers at all."""
        return np.full((len(images), self.dim), np.nan, np.float32)


def write_model(path: Path) -> None:
    """Write `FakeEncoder` as ONNX; needs the extra `export`. Run once, by hand."""
    import onnx
    from onnx import TensorProto, helper

    side = PREPROCESSING.size // CELLS
    graph = helper.make_graph(
        [
            helper.make_node(
                "AveragePool", ["images"], ["cells"], kernel_shape=[side] * 2, strides=[side] * 2
            ),
            helper.make_node("Flatten", ["cells"], ["flat"]),
            helper.make_node("Sub", ["paper", "flat"], ["ink"]),
            helper.make_node("ReduceL2", ["ink"], ["length"], axes=[1], keepdims=1),
            helper.make_node("Div", ["ink", "length"], ["embeddings"]),
        ],
        "tiny",
        [
            helper.make_tensor_value_info(
                "images", TensorProto.FLOAT, ["n", 1, PREPROCESSING.size, PREPROCESSING.size]
            )
        ],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["n", CELLS * CELLS])],
        [helper.make_tensor("paper", TensorProto.FLOAT, [1], [1.001])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def tiny_bundle(folder: Path, *, name: str = "tiny", golden: int = 2) -> Bundle:
    """Save a bundle of 1 kB; another number of golden drawings gives another fingerprint."""
    images = np.full((golden, PREPROCESSING.size, PREPROCESSING.size), 255, np.uint8)
    for i, image in enumerate(images):
        image[4 + i : 20, 6 : 10 + i] = 0
    return save_bundle(
        folder,
        name=name,
        precision="fp32",
        model=MODEL,
        preprocessing=PREPROCESSING,
        levels=("class", "subclass", "design"),
        golden_images=images,
        golden_embeddings=embed_figures(FakeEncoder(""), list(images)),
        golden_tolerance=0.999,
        provenance={"made": "for tests"},
    )


def drawing(design: int, view: int = 0, *, figures: int = 1, side: int = 240) -> bytes:
    """Return the PNG of a sheet: views of one design are alike, those of two designs are not.

    The figures stand one above the other with much paper between them.
    """
    page = Image.new("L", (side, side * figures), 255)
    pen = ImageDraw.Draw(page)
    for i in range(figures):
        shape = np.random.default_rng(design)
        turn = np.random.default_rng([design, view + i])
        angles = np.sort(shape.uniform(0, 2 * np.pi, 9))
        radii = shape.uniform(0.25, 1.0, 9) * side * 0.36 + turn.uniform(-2, 2, 9)
        points = [
            (side / 2 + radius * np.cos(angle), side * (i + 0.5) + radius * np.sin(angle))
            for angle, radius in zip(angles, radii, strict=True)
        ]
        pen.polygon(points, outline=0, width=5)
        pen.line([points[0], points[4]], fill=0, width=4)
    file = io.BytesIO()
    page.save(file, "PNG")
    return file.getvalue()


def boxes(figures: int, *, side: int = 240) -> tuple[Box, ...]:
    """Return where `drawing` puts its figures."""
    return tuple(Box(0, side * i, side, side * (i + 1)) for i in range(figures))


def sheet(data: bytes, name: str = "1.png", **changes: Any) -> Sheet:
    """Return a sheet that lies in memory."""
    return replace(Sheet(name=name, where=f"made/{name}", read=lambda: data), **changes)


def design(
    number: int | str,
    sheets: Sequence[Sheet],
    labels: Sequence[str] = ("07", "07-03"),
    **facts: Any,
) -> Design:
    """Return a design made of sheets."""
    name = f"D{number:04d}" if isinstance(number, int) else number
    facts = {"where": f"made/{name}", "title": "Spoon", "locarno": "07-03"} | facts
    return Design(number=name, labels=tuple(labels), sheets=tuple(sheets), **facts)


CLASSES = (("06", "06-01"), ("06", "06-04"), ("07", "07-03"), ("12", "12-08"))


def designs(count: int, views: int = 3) -> list[Design]:
    """Return designs of `views` sheets with one figure each, spread over four subclasses."""
    return [
        design(
            i,
            [
                sheet(drawing(i, v), f"{i}-{v}.png", single=True, where=f"made/{i}-{v}.png")
                for v in range(views)
            ],
            CLASSES[i % len(CLASSES)],
            locarno=CLASSES[i % len(CLASSES)][1],
            title=f"Thing {i}",
            published=f"2021-03-{i % 28 + 1:02d}",
        )
        for i in range(count)
    ]
