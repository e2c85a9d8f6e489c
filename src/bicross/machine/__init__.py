"""This machine: what it does in a second, measured once, and what a job will take on it."""

from bicross.machine.cache import machine_profile
from bicross.machine.measuring import measure
from bicross.machine.planned import Plan, plan
from bicross.machine.sampling import Sample, sample_documents

__all__ = ["Plan", "Sample", "machine_profile", "measure", "plan", "sample_documents"]
