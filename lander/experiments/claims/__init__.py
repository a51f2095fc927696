"""The claims that the paper makes in prose, each as a statistic with a verdict.

`claims.yaml` has the claims and the rules by which they are judged. A rule is fixed before any data is seen, and is
printed beside the verdict:

    supported       the statistic is on the claimed side, and a permutation test gives p <= 0.05
    not supported   it is not, or chance does as well
    not testable here   the table for it was not given, or there are too few layers, languages, directions, seeds or
                        draws for any outcome to pass

Permutation tests (`judge.tested`) take all arrangements where they are few, and seeded random ones otherwise. Those
that permute layers treat layers as exchangeable; neighbouring layers are alike, so their p is on the small side.
"""
