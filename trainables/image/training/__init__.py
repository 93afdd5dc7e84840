"""One trial: from batches to a checkpoint, and the final evaluation of one."""
