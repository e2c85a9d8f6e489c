"""Run a graph: arrays in, arrays out."""

from bicross.encoders.engines.openvino import OpenVinoEngine, resolve_precision

__all__ = ["OpenVinoEngine", "resolve_precision"]
