"""Small stand-ins for tests: an encoder that needs no training, its bundle, drawings, designs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from edge_retrieval.arrays import Embeddings, Images, Pixels
from edge_retrieval.bundle import Bundle, save_bundle
from edge_retrieval.drawing import Preprocessing, fit_batch
from edge_retrieval.encoder import embed_figures
from edge_retrieval.sources.design import Box, Design, Sheet

PREPROCESSING = Preprocessing(size=32)
CELLS = 8
PINNED = Path(__file__).parent / "pinned"
MODEL = PINNED / "tiny.onnx"
"""The same arithmetic as `FakeEncoder`, as ONNX; `write_model` made it."""

INT8 = PINNED / "int8.onnx"
"""A network of signed 8-bit activations and weights, right on every machine that adds in 32 bits,
hopeless where pairs of products are added in 16; `write_int8` made it."""

REDUCED = PINNED / "int8-reduced.onnx"
"""The same with 7 bits where they are enough: right on every machine; `write_int8` made it."""

CLIPPED = PINNED / "int8-clipped.onnx"
"""The same with a range that holds a fifth of its activations; `write_int8` made it."""


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


HIDDEN, WIDE, TILE = 16, 8, 4
"""Channels of the two convolutions of the 8-bit network, and the side of the first one's tiles."""


class Int8Encoder:
    """The 8-bit network by plain arithmetic: in float, or with pairs of products held to 16 bits.

    First each tile of 4 x 4 pixels becomes 16 numbers, all far above zero; then sums with heavy
    weights, of which half are positive. What is alike in all drawings cancels out, unless sums of
    pairs stop at 32767: then only that is left.
    """

    preprocessing = PREPROCESSING
    dim = WIDE * 16
    backend = "fake"
    fingerprint = "int8"

    def __init__(self, *, saturates: bool = False) -> None:
        self.saturates = saturates
        rng = np.random.default_rng(11)
        first = rng.normal(0, 0.08, (HIDDEN, TILE * TILE))
        self.first = (first - first.mean(axis=1, keepdims=True)).astype(np.float32)
        self.first_bias = np.full(HIDDEN, 2, np.float32)  # what paper gives
        signs = rng.permuted(np.repeat([[1, 1, -1, -1]], WIDE, axis=0), axis=1)  # four by four
        self.second = (signs.repeat(4, axis=1) * rng.integers(90, 128, (WIDE, HIDDEN))).astype(
            np.int8
        )
        paper = 2 * self.second.astype(np.float32).sum(axis=1) / 127
        self.second_bias = np.float32(0.1) - paper

    def hidden(self, images: Images) -> Images:
        """(N, 1, 32, 32) -> (N, 64, 16): the tiles after the first convolution and ReLU."""
        count, side = len(images), PREPROCESSING.size // TILE
        tiles = images.reshape(count, side, TILE, side, TILE).swapaxes(2, 3)
        flat = tiles.reshape(count, side * side, TILE * TILE)
        return np.maximum(flat @ self.first.T + self.first_bias, 0).astype(np.float32)

    def embed(self, images: Images) -> Embeddings:
        """(N, 1, 32, 32) -> (N, 128), rows of length 1."""
        hidden = self.hidden(images)  # (N, 64, 16)
        if self.saturates:
            eight = np.clip(np.rint(hidden / STEP), 0, 255).astype(np.int64)  # unsigned bytes
            products = eight[:, :, None, :] * self.second.astype(np.int64)  # (N, 64, 8, 16)
            pairs = products.reshape(*products.shape[:3], HIDDEN // 2, 2).sum(axis=4)
            sums = np.clip(pairs, -32768, 32767).sum(axis=3) * STEP / 127
        else:
            sums = hidden @ self.second.T.astype(np.float32) / 127
        found = sums + self.second_bias  # (N, 64, 8)
        side = PREPROCESSING.size // TILE // 2
        pooled = found.reshape(len(images), side, 2, side, 2, WIDE).mean(axis=(2, 4))
        rows = pooled.transpose(0, 3, 1, 2).reshape(len(images), -1)  # (N, 8 * 16)
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


STEP = 2.75 / 255
"""Between two 8-bit values of the hidden layer."""


def write_int8(path: Path, *, clipped: bool = False, reduced: bool = False) -> None:
    """Write `Int8Encoder` as a QDQ ONNX file; needs the extra `export`. Run once, by hand.

    Args:
        path: The file.
        clipped: Its ranges are too narrow: it is wrong on every processor.
        reduced: Of each product one factor has 7 bits: it is right also where pairs of products are
            added in 16 bits. Without, it is right where they are added in 32, as VNNI does.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    made = Int8Encoder()
    nodes, constants = [], []

    def constant(name: str, value: object) -> str:
        constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def quantized(name: str, step: float, zero: int) -> str:
        scale = constant(f"{name}_scale", np.float32(step))
        point = constant(f"{name}_zero", np.int8(zero))
        for kind, taken, given in (("Quantize", "", "_8"), ("Dequantize", "_8", "_after")):
            taken, given = name + taken, name + given
            nodes.append(helper.make_node(f"{kind}Linear", [taken, scale, point], [given]))
        return f"{name}_after"

    def convolved(taken: str, name: str, weight: Any, step: float, bias: Any, side: int) -> None:
        eight, scale = constant(f"{name}_w8", weight), constant(f"{name}_step", np.float32(step))
        zero = constant(f"{name}_w0", np.int8(0))
        nodes.append(helper.make_node("DequantizeLinear", [eight, scale, zero], [f"{name}_w"]))
        taken_all = [taken, f"{name}_w", constant(f"{name}_b", bias)]
        shape = {"kernel_shape": [side, side], "strides": [side, side]}
        nodes.append(helper.make_node("Conv", taken_all, [name], **shape))

    step = float(np.abs(made.first).max()) / (63 if reduced else 127)
    first = np.rint(made.first / step).astype(np.int8).reshape(HIDDEN, 1, TILE, TILE)
    convolved(quantized("images", 2 / 255, -1), "tiles", first, step, made.first_bias, TILE)
    nodes.append(helper.make_node("Relu", ["tiles"], ["hidden"]))
    hidden = quantized("hidden", STEP / 5 if clipped else STEP * 2 if reduced else STEP, -128)
    second = made.second.reshape(WIDE, HIDDEN, 1, 1)
    convolved(hidden, "sums", second, 1 / 127, made.second_bias, 1)
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes.append(helper.make_node("AveragePool", ["sums"], ["pooled"], **pool))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    nodes.append(helper.make_node("ReduceL2", ["flat"], ["length"], axes=[1], keepdims=1))
    nodes.append(helper.make_node("Div", ["flat", "length"], ["embeddings"]))
    side = PREPROCESSING.size
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("images", ["n", 1, side, side]), ("embeddings", ["n", made.dim]))
    ]
    graph = helper.make_graph(nodes, "int8", ports[:1], ports[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def int8_bundle(folder: Path, *, model: Path = REDUCED, images: int = 4) -> Bundle:
    """Save a bundle of the 8-bit network; its golden vectors are always those of the right one."""
    golden = np.stack([pixels_of(drawing(i)) for i in range(images)])
    return save_bundle(
        folder,
        name="int8",
        precision="int8",
        model=model,
        preprocessing=PREPROCESSING,
        levels=("class", "subclass", "design"),
        golden_images=golden,
        golden_embeddings=Int8Encoder().embed(fit_batch(list(golden), PREPROCESSING)),
        golden_tolerance=0.95,
        provenance={"made": "for tests"},
    )


def pixels_of(data: bytes) -> Pixels:
    """Return a drawing's pixels."""
    return np.asarray(Image.open(io.BytesIO(data)))


def tiny_bundle(
    folder: Path, *, name: str = "tiny", golden: int = 2, prefixes: Sequence[int] = ()
) -> Bundle:
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
        prefixes=prefixes,
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
