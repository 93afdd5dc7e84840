"""CPUs and GPUs: what a trial gets of them, and how many trials share one."""
