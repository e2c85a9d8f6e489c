"""Score two pairs with a cross-encoder: the question is read together with each passage."""

from bicross import CrossEncoder

QUERY = "How many people live in Berlin?"
PASSAGES = [
    "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
    "Berlin is well known for its museums.",
]

model = CrossEncoder()
logits = model.predict([(QUERY, passage) for passage in PASSAGES])
for logit, relevance, passage in zip(logits, model.relevance(logits), PASSAGES, strict=True):
    print(f"logit {logit:7.3f}   relevance {relevance:.3f}   {passage}")
