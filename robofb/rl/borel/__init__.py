"""Offline meta-learning of exploration (BOReL; Dorfman et al., NeurIPS 2021, arXiv 2008.02598)."""
