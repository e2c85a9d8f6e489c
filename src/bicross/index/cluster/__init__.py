"""An index past one machine: on a Qdrant server or cluster (extra ``cluster``)."""
