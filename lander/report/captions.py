"""What to see in the pictures of the experiments: a sentence or two for each, by name of the experiment."""

SEE = {
    "forgetting": (
        "A mark is a method: the higher, the more it gains on what was trained; the further to the right, the more it "
        "has lost on plain text; the larger, the more parameters it trains. No method lies above and to the left of a "
        "filled one. Random neurons or layers as good as landermt's say that the detection gives nothing."
    ),
    "table1": (
        "A row is a method, a mark its mean, the line on it the spread over seeds, where there are several. Which "
        "leads are more than chance stands in the first paragraph."
    ),
    "table2": "Training all neurons of a direction (landermt), its general ones (lg) or its specific ones alone (ls).",
    "transfer": (
        "The paper's figure 3. A row is the direction that was trained, a column the one that was tested, the number "
        "the change against zero-shot. Framed: trained and tested are the same. A row of gains in many "
        "columns teaches other directions too, one of losses harms them; a pale column is moved by nothing elsewhere."
    ),
    "readings": (
        "A row is one switch between readings of the paper, all others as they are. Left of the line is better: "
        "a lower dev loss than with the default."
    ),
    "sweep_k": (
        "The paper's figure 10: how many layers are trained; the lines on the marks are the spread over seeds. Where a "
        "curve is flat, further layers are spent for nothing."
    ),
    "sweep_epsilon": (
        "The paper's figure 11: the share of neurons that counts as general; the lines on the marks are the spread "
        "over seeds. A flat curve says that the split of the neurons does not matter."
    ),
    "estimators": "A row is a way to score neurons, the line random neurons: near it, it is no better.",
    "agreement": (
        "Overlap of the neurons found with some sentences and with all of them: where the curve reaches the dashed "
        "line, more sentences change little."
    ),
    "clusters": (
        "The paper's figures 12 and 13. A mark is a sentence, its shape and colour the language. On general neurons "
        "the languages should be mixed, on specific ones apart; a silhouette near 0 is mixed, near 1 apart."
    ),
    "second_model": (
        "The paper's figure 9, on another base: landermt against adapter-lora in each direction; the lines on the bars "
        "are the spread over seeds."
    ),
    "tune": "A minimum at the edge of what was tried is not yet one. Ringed: the rate that was chosen.",
}
