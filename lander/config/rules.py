"""How the scores of each estimator of awareness divide neurons into groups (`lander.detect.neurons --rule`)."""

RULES = {"summed": "summed", "probability": "entropy"}  # what is not here: by variance, the paper's equations 4-5


def rule_of(estimator: str) -> str:
    """The rule of an estimator."""
    return RULES.get(estimator, "variance")
