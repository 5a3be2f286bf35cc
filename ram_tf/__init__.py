"""Multi-label image recognition by recurrently discovering attentional regions."""

__version__ = "0.1.0"
