"""Transformer that writes a video token by token; the tokens are those of a trained codec."""
