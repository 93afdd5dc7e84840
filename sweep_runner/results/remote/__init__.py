"""Results on S3-compatible storage: a working copy on this machine, and what keeps the two alike.

Log and study need appends, locks and syncs, which object storage has not. So a sweep is written in a working copy, on
a disk, and mirrored; whoever reads brings what changed into a working copy of its own. Nothing here is imported where
the results are a path.
"""
