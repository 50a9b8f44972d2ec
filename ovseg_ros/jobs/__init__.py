"""Jobs over cores and machines: progress, retries and resume, with the serial run's results."""

from ovseg_ros.jobs.base import JobsError, Work
from ovseg_ros.jobs.run import run_jobs

__all__ = ["JobsError", "Work", "run_jobs"]
