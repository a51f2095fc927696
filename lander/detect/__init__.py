"""What of a base responds to which language: activations, layers, awareness, neurons, masks (paper 3.1 and 3.2)."""

ESTIMATORS = ("taylor", "taylor_squared", "summed", "activation", "probability", "ablation", "random")
SITES = ("post", "pre")
