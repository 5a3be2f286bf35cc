"""Inputs that no file should hold, for everything that reads a stranger's bytes."""
