"""A module for `worker`."""

from env_manager import task_handler

from .handlers import do

task_handler("cpu_short")(do)
