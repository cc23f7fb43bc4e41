"""The least that a search can do, as a script would: no index, no checks, no designs, no figures.

    python benchmarks/bare.py DRAWING MODEL MATRIX DIM SIDE [THREADS]

Imports numpy, Pillow and onnxruntime, decodes the drawing, embeds it, multiplies the matrix and
prints ten rows. What `benchmarks/cold_start.py` holds a search against.
"""

import sys

import numpy as np
import onnxruntime
from PIL import Image

drawing, model, matrix, dim, side = *sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5])
options = onnxruntime.SessionOptions()
if len(sys.argv) > 6:
    options.intra_op_num_threads = int(sys.argv[6])

image = Image.open(drawing).convert("L")
ink = np.asarray(image) < 128
rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
image = image.crop((int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))
image.thumbnail((side, side), Image.Resampling.LANCZOS)
square = Image.new("L", (side, side), 255)
square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
images = (np.asarray(square, np.float32)[None, None] / 255 - 0.5) / 0.5  # (1, 1, H, W)

session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
[embeddings] = session.run(None, {"images": images})
vectors = np.memmap(matrix, np.float32, "r").reshape(-1, dim)  # (N, D)
scores = vectors @ embeddings[0]
best = np.argpartition(scores, -10)[-10:]
for row in best[np.argsort(-scores[best])]:
    print(row, scores[row])
