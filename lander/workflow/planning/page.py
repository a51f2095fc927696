"""A plan as text for the terminal."""

from typing import Any

from lander.workflow.planning.memory import STAGES


def page(plan: dict[str, Any]) -> str:
    """Sizes, methods, stages, notes."""
    model, machine = plan["model"], plan["machine"]
    have = f"{machine['memory_gb']:.1f} GB" if machine["memory_gb"] else "memory not known"
    pairs = [text["pairs"] for text in plan["texts"].values()]
    known = [number for number in pairs if number is not None]
    lengths = [text["prompt"] + text["target"] for text in plan["texts"].values()]
    left = plan["jobs"]
    jobs = "not counted" if left is None else f"{sum(left.values())} left to do"
    if left:
        jobs += f" ({', '.join(f'{n} {rule}' for rule, n in sorted(left.items(), key=lambda item: -item[1]))})"
    facts = {
        "run": plan["run"],
        "model": f"{model['path']}: {_count(model['parameters'])} parameters, {model['n_layer']} layers of "
        f"{model['n_neurons']:,} neurons, {model['dtype']}",
        "machine": f"{machine['device']}, {have}, {machine['ranks']} rank{'s' if machine['ranks'] > 1 else ''}",
        "directions": f"{len(pairs)}, {_range(known)} pairs each{', some unknown' * (len(known) < len(pairs))}; "
        f"{_range([round(length) for length in lengths])} tokens a pair",
        "jobs": jobs,
        "hours": _hours(plan["hours"]) + ("" if plan["hours_complete"] else " and more: what has a ? below"),
        "disk": f"{plan['disk_gb']:.2f} GB",
    }
    parts = ["\n".join(f"{key:12} {value}" for key, value in facts.items())]
    if plan["methods"]:
        head = ["method", "trained", "share", "trainings", "updates", "hours each"]
        head += [f"GB at ZeRO {stage}{' *' if stage == plan['zero_stage'] else ''}" for stage in STAGES]
        rows = [
            [one["method"], _count(one["trained"]), f"{100 * one['share']:.2f}%", str(one["trainings"])]
            + ["?" if one["updates"] is None else f"{one['updates']:,}", _hours(one["hours"])]
            + [f"{one['memory_gb'][str(stage)]:.2f}" for stage in STAGES]
            for one in plan["methods"]
        ]
        parts.append(f"{_table(head, rows)}\n* what the run uses; a device's peak, {machine['ranks']} rank(s)")
    rows = [[one["stage"], f"{one['memory_gb']:.2f}", _hours(one["hours"])] for one in plan["stages"]]
    parts.append(_table(["stage", "GB", "hours"], rows))
    parts.append("\n".join(f"- {note}" for note in plan["notes"]))
    return "\n\n".join(parts)


def _table(head: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) if place == 0 else cell.rjust(width) for place, (cell, width) in
                  enumerate(zip(row, widths, strict=True)))
        for row in [head, *rows]
    ]  # fmt: skip
    return "\n".join(lines)


def _hours(hours: float | None) -> str:
    if hours is None:
        return "?"
    return f"{hours:.1f}" if hours >= 1 else f"{hours:.3f}"


def _count(number: int) -> str:
    for size, sign in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.2f}{sign}"
    return str(number)


def _range(numbers: list[int]) -> str:
    if not numbers:
        return "unknown"
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
