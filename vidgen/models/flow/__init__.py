"""Flow-matching diffusion transformer on pixels."""
