"""Text to vectors, pairs to scores."""

from bicross.encoders.bi_encoder import BiEncoder
from bicross.encoders.compact import CompactEmbeddings, compact
from bicross.encoders.cross_encoder import CrossEncoder
from bicross.encoders.loading import find_model
from bicross.encoders.quantising import Quantised, quantise

__all__ = ["BiEncoder", "CompactEmbeddings", "CrossEncoder", "Quantised", "compact", "find_model", "quantise"]
