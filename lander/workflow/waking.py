"""How often Snakemake's scheduler looks around while jobs run."""

import threading


def look_once(scheduler: type) -> None:
    """Let a scheduler wait for one alarm at a time.

    For its limit on jobs per second Snakemake (9.27; its pull request 3744 is about the same) sets an alarm after every
    round in which a job was ready; each alarm is a round again, and each finished job adds one more for ever. After
    150 jobs of the experiments the scheduler took half of a core from the trainings. One alarm is enough.

    Args:
        scheduler: snakemake.scheduling.job_scheduler.JobScheduler; left as it is where it has no such alarm any more.
    """
    name = "_schedule_reevalutation"  # their spelling
    if not hasattr(scheduler, name):
        return
    waiting = threading.Lock()  # held while an alarm is set

    def set_alarm(self, delay: float) -> None:
        def ring() -> None:
            waiting.release()
            self._open_jobs.release()

        if waiting.acquire(blocking=False):
            alarm = threading.Timer(delay, ring)
            alarm.daemon = True  # nobody waits for it at the end
            alarm.start()

    setattr(scheduler, name, set_alarm)
