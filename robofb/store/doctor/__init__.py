"""The dataset doctor: find what is wrong in recorded episodes, and say where."""
