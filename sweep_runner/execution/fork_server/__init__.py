"""A process that has imported what trials need: Ray's workers, and what evaluates at the end, are forked from it.

Each of them would import PyTorch and the like for itself otherwise: seconds of CPU time, and some 200 MB that forked
processes share. Whoever cannot have a fork (the server is gone) starts a process of its own: nothing depends on it.

`server` is its inside, `client` asks it, and `ray_worker` is the script that Ray starts in place of its own for each
worker.
"""
