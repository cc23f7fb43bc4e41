"""`python -m edge_retrieval.cli`."""

from edge_retrieval.cli import main

main()
