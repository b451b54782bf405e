"""Worlds of which a teacher sees more than the student that is to learn from it."""
