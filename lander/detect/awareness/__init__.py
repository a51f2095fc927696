"""Stage awareness: how much a language's loss depends on each FFN neuron (paper 3.2, eq. 3-4), by several estimators.

`texts` makes what is read, `estimators` scores by gradients or activations in one pass, `ablation` scores exactly,
neuron by neuron; `python -m lander.detect.awareness` is the stage, `standalone` the command `lander awareness`.
"""

ESTIMATORS = ("taylor", "taylor_squared", "summed", "activation", "probability", "ablation", "random")
SITES = ("post", "pre")
