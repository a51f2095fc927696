"""`python -m lander.translate`: decode the test sets with one model (`lander.translate.test_sets`)."""

from lander.shared.errors import run_main
from lander.translate.test_sets import main

if __name__ == "__main__":
    run_main(main, "translate")
