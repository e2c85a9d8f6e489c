"""Transformer graphs, built with OpenVINO operators from the weights in a model folder; no torch."""

from bicross.encoders.graphs.bert import POOLINGS, embedding_graph, logit_graph

__all__ = ["POOLINGS", "embedding_graph", "logit_graph"]
