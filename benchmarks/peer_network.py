"""One network for all contestants of peers.py, in the form that each of them takes.

A backbone of timm, a projection and a batch norm, with random weights of seed 0: what indexing
costs does not hang on what was learned, and anyone can make the same again.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from cold_start import wrap
from indexing import prepare

from edge_retrieval.bundle import Bundle, save_bundle
from edge_retrieval.drawing import Preprocessing

BACKBONE, SIZE, DIM = "mobilenetv4_conv_small", 128, 128
RCLIP_MODEL = Path("ViT-B-32-256-datacomp_s34b_b86k")
"""Where rclip 3 looks for its network; 128 pixels are half of what it hands over."""


def make_networks(folder: Path, *, backbone: str = BACKBONE, dim: int = DIM) -> Bundle:
    """Write `bundle`, `fastembed`, `torch` and `rclip` below a folder; return the bundle."""
    import torch

    from distill.config import TrainConfig
    from distill.model import make_student
    from distill.onnx_file import export_fp32

    config = TrainConfig(backbone=backbone, size=SIZE, dim=dim)
    student = make_student(config).eval()
    for name in ("fastembed", "torch", f"rclip/{RCLIP_MODEL}", "rclip/tokenizer"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    onnx = folder / "network.onnx"
    export_fp32(student, size=SIZE, channels=1, dim=dim, path=onnx)
    preprocessing = Preprocessing(size=SIZE, channels=1, mean=0.5, std=0.5)
    golden = np.full((1, SIZE, SIZE), 255, np.uint8)
    golden[:, 30:90, 60:64] = 0
    with torch.inference_mode():
        images = torch.from_numpy(golden[:, None].astype(np.float32) / 127.5 - 1)  # (1, 1, H, W)
        embeddings = student(images).numpy()
    bundle = save_bundle(
        folder / "bundle", name=f"{backbone}-fp32", precision="fp32", model=onnx,
        preprocessing=preprocessing, levels=("class", "subclass", "design"), golden_images=golden,
        golden_embeddings=embeddings, golden_tolerance=0.99, provenance={}, overwrite=True,
    )  # fmt: skip
    prepare(bundle, folder / "fastembed")
    about = {
        "backbone": backbone,
        "size": SIZE,
        "dim": dim,
        "width": student.projection.in_features,
    }
    (folder / "torch" / "network.json").write_text(json.dumps(about), encoding="utf-8")
    places = {"backbone": "0", "projection": "1", "norm": "2"}
    weights = {}
    for key, value in student.state_dict().items():
        place, rest = key.split(".", 1)
        weights[f"{places[place]}.{rest}"] = value
    torch.save(weights, folder / "torch" / "network.pt")
    wrap(bundle, folder / "rclip" / RCLIP_MODEL / "visual.onnx")
    (folder / "rclip" / RCLIP_MODEL / "textual.onnx").write_bytes(b"")
    (folder / "rclip" / "tokenizer" / "bpe_simple_vocab_16e6.txt.gz").write_bytes(b"")
    return bundle
