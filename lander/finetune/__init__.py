"""Finetuning of what the masks say, and of every baseline, with DeepSpeed ZeRO (paper: section 3.3, equations 7-9).

- `blocks`: an FFN as the sum of compact blocks of neurons, routed by direction; `switch`: layers of some directions.
- `methods`: what each method trains, as groups of parameters; `adapters`: bottlenecks behind the FFNs, and sizes.
- `schedule`: which pairs each micro-batch holds, a function of the seed alone; `cost`: the operations of a training.
- `trainer`: the loop; `engine`: all that reaches into DeepSpeed; `checkpoint`: interrupted trainings go on.
- `frozen`: every run checks that what is not trained has not moved.
- `saved`: the folder of a trained model, and what must be in it; `delta`: the same in one file; `mix`: averages.
"""
