"""Train, distil, export and quantize the encoders that `edge_retrieval` runs."""
