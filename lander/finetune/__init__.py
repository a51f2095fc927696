"""Finetuning of what the masks say, and of every baseline, with DeepSpeed ZeRO (paper: section 3.3, equations 7-9).

- `blocks`: an FFN as the sum of compact blocks of neurons, routed by direction.
- `methods`: what each method trains, as groups of parameters.
- `adapters`: bottlenecks behind the FFNs, and sizes; `cost`: the floating point operations of a training.
- `schedule`: which pairs each micro-batch holds, a function of the seed alone.
- `trainer`: the loop; `optimizer`: AdamW that leaves idle blocks alone; `checkpoint`: interrupted work resumes.
- `saved`: the folder of a trained model.
"""
