"""How the embedded checkpoints are trained. Needs the `train` extra."""
