"""Jobs that wait for one another, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

POLL_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """Something to do.

    Attributes:
        name: Its name, unique.
        action: What to do; an exception is a failure.
        after: Name of the job that must have succeeded before.
    """

    name: str
    action: Callable[[], None]
    after: str | None = None


def run_jobs(
    jobs: Sequence[Job], *, workers: int, tick: Callable[[], None] = lambda: None
) -> dict[str, Exception]:
    """Do all jobs; one that fails stops only those that wait for it.

    Args:
        jobs: The jobs; they start in this order as far as they need not wait.
        workers: How many run at a time.
        tick: Called about once a second in the calling thread.

    Returns:
        Exception by name of the jobs that failed; those that waited for them are left out silently.

    Raises:
        ValueError: A job waits for one that is not there.
    """
    names = {job.name for job in jobs}
    lost = [job.name for job in jobs if job.after is not None and job.after not in names]
    if lost or workers < 1:
        raise ValueError(f"jobs {lost} wait for unknown ones, or workers={workers} is below 1.")
    waiting = list(jobs)
    done: set[str] = set()
    running: dict[Future, Job] = {}
    failures: dict[str, Exception] = {}
    with ThreadPoolExecutor(max_workers=workers) as pool:
        while running or any(_is_ready(job, done) for job in waiting):
            for job in [job for job in waiting if _is_ready(job, done)]:
                if len(running) < workers:
                    waiting.remove(job)
                    running[pool.submit(job.action)] = job
            finished = wait(running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED).done
            for future in finished:
                job = running.pop(future)
                error = future.exception()
                if error is None:
                    done.add(job.name)
                elif isinstance(error, Exception):
                    failures[job.name] = error
                else:
                    raise error
            tick()
    return failures


def _is_ready(job: Job, done: set[str]) -> bool:
    return job.after is None or job.after in done
