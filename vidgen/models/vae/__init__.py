"""Causal 3D-convolutional autoencoder, continuous (VAE) or with tokens (FSQ)."""
