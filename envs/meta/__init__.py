"""Families of tasks for meta-learning (BOReL, arXiv 2008.02598)."""
