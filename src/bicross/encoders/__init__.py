"""Text to vectors, pairs to scores."""

from bicross.encoders.bi_encoder import BiEncoder
from bicross.encoders.cross_encoder import CrossEncoder
from bicross.encoders.loading import find_model

__all__ = ["BiEncoder", "CrossEncoder", "find_model"]
