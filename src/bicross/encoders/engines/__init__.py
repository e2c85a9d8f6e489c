"""Run a model: tokens in, arrays out."""

from bicross.encoders.engines.engine import Engine, Head, whole_steps
from bicross.encoders.engines.openvino import OpenVinoEngine, resolve_precision

__all__ = ["Engine", "Head", "OpenVinoEngine", "resolve_precision", "whole_steps"]
