"""Train video-generation models on any Kubernetes GPU pool, or on one laptop."""

__version__ = "0.1.0"
