"""What of a base responds to which language: activations, layers, awareness, neurons, masks (paper 3.1 and 3.2)."""
