"""Tables and figures that compare the models of a run, and analyses of its layers and neurons.

Paper: tables 1-2, figures 3, 9, 10 and 11; the others are ours. `samples` reads files and makes means and spreads.
`agreement`, `claims`, `clusters` and `figures` have separate command lines.

Reads:
    scores   evaluate/<method>/<variant>/s<seed>/<test>/<direction>.csv of `lander.evaluate`, or such folders s<seed>
    losses   loss/<method>/<variant>/s<seed>.csv: method, variant, seed, state, kind, name, direction, loss, tokens,
             characters, loss_per_character; `loss` in nats per predicted token
    runs     finetune/<method>/<variant>/s<seed>/run.json: what training cost
Writes:
    <out>/<name>.json  the tables and paragraphs, as data (`lander.report.document`)
    <out>/<name>.csv   every number, one a row, with its spread
    <out>/<name>.md    the tables to read, in a terminal too
    <out>/<name>.svg   the figure, if there is one
    <out>/tune.yaml    (tune only) the chosen learning rates, as a config file

Means are over complete sets of directions only: a model that lacks one is an error that names it. A spread is a
standard deviation over seeds, or over the draws of a control.

Example:
    python -m lander.experiments table1 --scores results/demo/evaluate/*/main/s* \\
        --loss results/demo/loss/*/main/s*.csv \\
        --runs lora/main/s0=results/demo/finetune/lora/main/s0/run.json --out results/demo/experiments
"""

# They need losses and costs too.
MEASURED = ("forgetting", "readings", "sweep_k", "sweep_epsilon", "sweep_trained", "estimators")
