"""Transformer graphs, built with OpenVINO operators from the weights in a model folder; no torch."""

from bicross.encoders.graphs.exported import exported_graph
from bicross.encoders.graphs.transformer import encoder_graph, reading_graph

__all__ = ["encoder_graph", "exported_graph", "reading_graph"]
