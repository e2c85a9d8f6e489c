"""Graphs that a model folder brings along as an ONNX or OpenVINO file, read as they are."""

from __future__ import annotations

from pathlib import Path

import openvino as ov
from openvino import opset13 as op

from bicross.encoders.engines.engine import Head
from bicross.encoders.engines.openvino import core
from bicross.encoders.graphs.transformer import INPUTS, finished, pooled
from bicross.errors import ModelError

#: Outputs that are one vector a text already, and those with one a token.
_WHOLE = ("sentence_embedding", "embedding", "pooled_embeddings")
_BY_TOKEN = ("last_hidden_state", "token_embeddings")


def exported_graph(file: Path, head: Head) -> ov.Model:
    """The graph in a file, with the head's pooling behind it where the file ends in the states of the tokens.

    Args:
        file: ``.onnx``, or ``.xml`` with its ``.bin`` beside it.
        head: What the model should end in.

    Raises:
        ModelError: The file is broken, or its inputs or outputs are not those of an encoder.
    """
    try:
        model = core().read_model(file)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[-200:]
        raise ModelError(f"{file}: broken, or cut short ({reason}); fetch the model again") from None
    inputs = {name: port for port in model.inputs for name in port.get_names()}
    if unknown := [str(port.get_any_name()) for port in model.inputs if not port.get_names() & set(INPUTS)]:
        raise ModelError(f"{file}: inputs {', '.join(unknown)} are not known; known are {', '.join(INPUTS)}")
    if not {"input_ids", "attention_mask"} <= set(inputs):
        raise ModelError(f"{file}: an encoder has the inputs input_ids and attention_mask")
    outputs = {name: port for port in model.outputs for name in port.get_names()}

    def output(names: tuple[str, ...], dimensions: int) -> ov.Output | None:
        """The output of one of these names, or the only one there is."""
        named = [outputs[name] for name in names if name in outputs] or (
            list(model.outputs) if len(model.outputs) == 1 else []
        )
        return next((p.get_node().input_value(0) for p in named if p.get_partial_shape().rank == dimensions), None)

    parameters = [port.get_node() for port in model.inputs]
    if head.output == "logits":
        found = output(("logits",), 2)
    elif (states := output(_BY_TOKEN, 3)) is not None:
        found = pooled(states, inputs["attention_mask"], head.pooling, head.normalise).output(0)
    else:
        found = output(_WHOLE, 2)
    if found is None:
        raise ModelError(f"{file}: no output for {head.output} among {', '.join(sorted(outputs)) or 'unnamed ones'}")
    if found.get_partial_shape()[-1].is_dynamic:
        raise ModelError(f"{file}: the file does not say how many numbers the model gives")
    return finished(parameters, op.convert(found, "f32"), head.output)
