"""What a job costs on a machine that was measured, and which encoder to use: numbers before work. Arithmetic only."""

from bicross.planning.cluster import ClusterPlan, Nodes, plan_cluster
from bicross.planning.numbers import whole_number
from bicross.planning.pairs import AllPairsPlan, PairPlan, plan_all_pairs, plan_pairs
from bicross.planning.profile import Curve, MachineProfile, Speeds
from bicross.planning.search import IndexPlan, SearchPlan, Way, plan_index, plan_search, rerank_s
from bicross.planning.workload import Workload, assumed

__all__ = [
    "AllPairsPlan",
    "ClusterPlan",
    "Curve",
    "IndexPlan",
    "MachineProfile",
    "Nodes",
    "PairPlan",
    "SearchPlan",
    "Speeds",
    "Way",
    "Workload",
    "assumed",
    "plan_all_pairs",
    "plan_cluster",
    "plan_index",
    "plan_pairs",
    "plan_search",
    "rerank_s",
    "whole_number",
]
