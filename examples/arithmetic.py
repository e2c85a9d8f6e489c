"""What comparing every sentence with every other costs: n encodings, or n (n - 1) / 2 pairs."""

from bicross import plan_pairs

for sentences in (4, 100_000):
    plan = plan_pairs(sentences)
    print(f"{plan.sentences:,} sentences: {plan.encodings:,} encodings or {plan.pairs:,} pairs")
